import { isRecord } from '../../doc/files/json'
import type { ProjectDoc, SourceSettings } from '../../doc/model'
import type { ChainNode } from '../../engine/chain'
import type { LoadPlan } from '../../engine/loading'
import { blendOf, graphFor } from '../../engine/wire'
import { t } from '../../messages'
import { adaptersOf } from '../../schema/loras'
import { REFERENCE_KEYS } from '../../schema/plan'
import type { Line } from './layers'

/** What runs, as nodes and lines: the graph that the server gets, and what this page adds on either side of it. Pure. */

export type FlowKind =
  | 'source'
  | 'prompt'
  | 'loras'
  | 'references'
  | 'processor'
  | 'pipeline'
  | 'sink'
  | 'stage'
  | 'window'
  | 'recording'
  /** Of an imported graph, and nothing that runs here. */
  | 'other'

/** `waits` for a reload; `ignored`: of an imported graph, and not run. */
export type FlowState = 'idle' | 'runs' | 'waits' | 'missing' | 'off' | 'ignored'

export interface FlowNode {
  id: string
  kind: FlowKind
  name: string
  note: string
  state: FlowState
}

export interface Flow {
  nodes: readonly FlowNode[]
  lines: readonly Line[]
}

export interface FlowFacts {
  doc: Pick<ProjectDoc, 'params' | 'source' | 'onAir' | 'blend'>
  chain: readonly ChainNode[]
  /** What was loaded for the session; null while none runs. */
  running: LoadPlan | null
  active: boolean
  /** Ids of pipelines whose files are not here. */
  missing: readonly string[]
  window: boolean
  recording: boolean
}

const m = t.graph

function sourceNote({ kind, clip }: SourceSettings): string {
  if (kind === 'file') return clip === null ? t.source.bundled : clip.slice(0, clip.lastIndexOf('#'))
  return t.source[kind]
}

interface WireEdge {
  from: string
  to_node: string
}

export function flowOf(facts: FlowFacts): Flow {
  const { doc, chain, running, active, missing } = facts
  const main = chain.find(({ role }) => role === 'main')
  if (!main) return { nodes: [], lines: [] }
  const edges = graphFor(doc, chain).edges as WireEdge[]
  const lines: Line[] = edges.map(({ from, to_node: to }) => ({ from, to, values: false }))
  const of = (node: ChainNode): FlowState => {
    if (missing.includes(node.pipeline.id)) return 'missing'
    if (!active || !running) return 'idle'
    return running.nodes.some(({ nodeId }) => nodeId === node.id) ? 'runs' : 'waits'
  }
  const up: FlowState = active ? 'runs' : 'idle'
  const nodes: FlowNode[] = []
  if (edges.some(({ from }) => from === 'input')) {
    nodes.push({ id: 'input', kind: 'source', name: m.kinds.source, note: sourceNote(doc.source), state: up })
  }
  /** What gives the pipeline values. */
  const give = (id: 'prompt' | 'loras' | 'references', note: string) => {
    nodes.push({ id, kind: id, name: m.kinds[id], note, state: up })
    lines.push({ from: id, to: main.id, values: true })
  }
  for (const node of chain) {
    if (node === main) {
      const params = doc.params[main.id] ?? {}
      const adapters = adaptersOf(params.loras, params.lora_merge_strategy).length
      const pictures = REFERENCE_KEYS.flatMap((key) => params[key] ?? []).length
      const blend = doc.onAir.length > 1 ? blendOf(doc, main.pipeline) : null
      if (main.pipeline.supports_prompts) give('prompt', m.prompts(doc.onAir.length, blend && t.prompt[blend]))
      if (main.pipeline.supports_lora && adapters > 0) give('loras', m.count(adapters))
      if (main.pipeline.supports_vace && pictures > 0) give('references', m.count(pictures))
    }
    nodes.push({
      id: node.id,
      kind: node === main ? 'pipeline' : 'processor',
      name: node.pipeline.name,
      note: node.control ? m.control : '',
      state: of(node),
    })
  }
  nodes.push({ id: 'output', kind: 'sink', name: m.kinds.sink, note: '', state: up })
  const out = (id: 'stage' | 'window' | 'recording', state: FlowState) => {
    nodes.push({ id, kind: id, name: m.kinds[id], note: state === 'off' ? m.off : '', state })
    lines.push({ from: 'output', to: id, values: false })
  }
  out('stage', up)
  out('window', facts.window ? up : 'off')
  out('recording', facts.recording ? 'runs' : 'off')
  return { nodes, lines }
}

/** What runs until the reload, and is no longer asked for. */
export function leavingOf({ chain, running }: Pick<FlowFacts, 'chain' | 'running'>): string[] {
  return (running?.nodes ?? [])
    .filter(({ nodeId }) => !chain.some(({ id }) => id === nodeId))
    .map((it) => it.pipelineId)
}

// -- imported graphs

/** More would not be looked at. */
export const MAX_SHOWN = 200

const text = (value: unknown) => (typeof value === 'string' ? value : '')

/** The graph that came with a workflow, as it is; null when there is none. */
export function importedFlow(doc: Pick<ProjectDoc, 'extra'>, chain: readonly ChainNode[]): Flow | null {
  const { graph } = doc.extra
  if (!isRecord(graph) || !Array.isArray(graph.nodes)) return null
  const raw = (graph.nodes as unknown[]).filter(isRecord).slice(0, MAX_SHOWN)
  const seen = new Set<string>()
  const taken = new Set<string>()
  const nodes = raw.flatMap((node): FlowNode[] => {
    const [id, type, pipeline] = [text(node.id), text(node.type), text(node.pipeline_id)]
    if (id === '' || seen.has(id)) return []
    seen.add(id)
    const here = chain.find((it) => it.pipeline.id === pipeline && !taken.has(it.id))
    if (type === 'pipeline') {
      if (here) taken.add(here.id)
      const kind = here?.role === 'main' ? 'pipeline' : 'processor'
      const name = here?.pipeline.name ?? (pipeline || id)
      return [{ id, kind, name, note: here ? '' : m.ignored.pipeline, state: here ? 'idle' : 'ignored' }]
    }
    if (type === 'source' || type === 'sink') {
      // One of each is run: the page's own.
      const mode = text(type === 'source' ? node.source_mode : node.sink_mode)
      const first = !taken.has(type)
      const own = type === 'source' ? ['', 'video', 'camera'].includes(mode) : mode === ''
      taken.add(type)
      const note = first && own ? '' : first ? m.ignored.route(mode) : m.ignored.more
      const name = mode === '' ? m.imported[type] : `${m.imported[type]} · ${mode}`
      return [{ id, kind: type, name, note, state: note === '' ? 'idle' : 'ignored' }]
    }
    const kind = type === 'record' ? 'recording' : 'other'
    const name = type === 'record' ? m.kinds.recording : text(node.node_type_id) || type || id
    const note = type === 'record' ? m.ignored.record : type === 'node' ? m.ignored.node : m.ignored.control
    return [{ id, kind, name, note, state: 'ignored' }]
  })
  const edges = Array.isArray(graph.edges) ? (graph.edges as unknown[]).filter(isRecord) : []
  const lines = edges.slice(0, 4 * MAX_SHOWN).flatMap((edge): Line[] => {
    const [from, to] = [text(edge.from), text(edge.to_node)]
    return seen.has(from) && seen.has(to) ? [{ from, to, values: edge.kind === 'parameter' }] : []
  })
  return nodes.length > 0 ? { nodes, lines } : null
}
