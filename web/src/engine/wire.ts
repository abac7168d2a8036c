import type { Params, Pipeline } from '../api/types'
import type { Method, ProjectDoc, WirePrompt } from '../doc/model'
import type { Take } from '../doc/timeline'
import type { Size } from '../schema/resolution'
import { type ChainNode, CONTROL_PORT, mainNode, needOf, paramsOf } from './chain'
import type { LoadPlan } from './loading'
import { tempoParameters } from './modulation'

/** What the document means on the wire. Pure. */

export const BLEND_KEY = 'prompt_interpolation_method'

export interface Transition {
  steps: number
  method: Method
}

/** The transition in force: the user's choice, else the pipeline's; null where the pipeline has none. */
export function transitionOf(doc: ProjectDoc, pipeline: Pipeline): Transition | null {
  const own = pipeline.default_temporal_interpolation_method
  if (!own || !pipeline.supports_prompts) return null
  return {
    steps: doc.transition.steps ?? pipeline.default_temporal_interpolation_steps ?? 0,
    method: doc.transition.method ?? own,
  }
}

/** How prompts of one moment mix: the user's choice, else the pipeline's; null where the pipeline has none. */
export function blendOf(doc: Pick<ProjectDoc, 'blend'>, pipeline: Pipeline): Method | null {
  const own = pipeline.default_spatial_interpolation_method
  return own && pipeline.supports_prompts ? (doc.blend ?? own) : null
}

/** A take as the document has its transition. */
export function takeOf(prompts: readonly WirePrompt[], hard: boolean, doc: ProjectDoc, pipeline: Pipeline): Take {
  const transition = hard ? null : transitionOf(doc, pipeline)
  const smooth = transition !== null && transition.steps > 0
  return { prompts, transition: smooth ? transition : null, cut: hard ? 'hard' : 'soft' }
}

/**
 * The message of a take, by hand or from the timeline. In a chain it names its `node`: the others would show it at once,
 * before the picture has changed.
 */
export function takeMessage(id: string, take: Take, pipeline: Pipeline, node?: string): Params {
  const { prompts, transition, cut } = take
  const message: Params = node === undefined ? { _id: id } : { _id: id, node_id: node }
  if (transition && transition.steps > 0 && pipeline.default_temporal_interpolation_method) {
    message.transition = {
      target_prompts: prompts,
      num_steps: transition.steps,
      temporal_interpolation_method: transition.method,
    }
  } else {
    message.prompts = prompts
  }
  if (cut === 'hard' && pipeline.supports_cache_management) message.reset_cache = true
  return message
}

/** The chain as the server's graph, each processor with the parameters it starts with; text mode has no source. */
export function graphFor(doc: Pick<ProjectDoc, 'params'>, chain: readonly ChainNode[]): Params {
  const nodes: Params[] = []
  const edges: Params[] = []
  let from: string | null = null
  const connect = (to: string, port: string) => {
    if (from !== null) edges.push({ from, from_port: 'video', to_node: to, to_port: port, kind: 'stream' })
    from = to
  }
  if (chain.some((node) => node.role === 'main' && node.mode === 'video')) {
    nodes.push({ id: 'input', type: 'source', source_mode: 'video' })
    from = 'input'
  }
  for (const node of chain) {
    const own = node.role === 'main' ? {} : { params: paramsOf(doc, node).live }
    nodes.push({ id: node.id, type: 'pipeline', pipeline_id: node.pipeline.id, ...own })
    connect(node.id, node.control ? CONTROL_PORT : 'video')
  }
  nodes.push({ id: 'output', type: 'sink' })
  connect('output', 'video')
  return { nodes, edges }
}

export function loadPlanFor(doc: ProjectDoc, chain: readonly ChainNode[]): LoadPlan {
  const main = mainOf(chain)
  return {
    main: main.id,
    mode: main.mode,
    chain: doc.chain,
    nodes: chain.map((node) => ({
      nodeId: node.id,
      pipelineId: node.pipeline.id,
      loadParams: paramsOf(doc, node).load,
      need: needOf(doc, node),
    })),
  }
}

export function initialParameters(doc: ProjectDoc, chain: readonly ChainNode[]): Params {
  const main = mainOf(chain)
  const initial: Params = {
    ...paramsOf(doc, main).live,
    ...(doc.tempo.on ? tempoParameters(doc, chain) : {}),
    input_mode: main.mode,
    pipeline_ids: chain.map((node) => node.pipeline.id),
    graph: graphFor(doc, chain),
  }
  if (main.pipeline.supports_prompts) initial.prompts = doc.onAir
  const blend = blendOf(doc, main.pipeline)
  if (blend) initial[BLEND_KEY] = blend
  return initial
}

function mainOf(chain: readonly ChainNode[]): ChainNode {
  const main = chain.find((node) => node.role === 'main')
  if (!main) throw new Error('A chain has no pipeline')
  return main
}

/** The size in use: what the pipeline is loaded with, which is also the size we send. */
export function sizeFor(doc: ProjectDoc, pipeline: Pipeline): Size {
  const { load, live } = paramsOf(doc, mainNode(doc, pipeline))
  const read = (key: string) => Number(load[key] ?? live[key]) || 512
  return { width: read('width'), height: read('height') }
}
