import type { LoraEntry } from '../../api/projects'
import type { Params, Pipeline } from '../../api/types'
import { processorNode } from '../../doc/chain'
import { inputOf, sourceWith } from '../../doc/clip'
import type { DocumentContent } from '../../doc/files/read'
import { applyScore } from '../../doc/files/score'
import { fileName, lorasIn } from '../../doc/files/settings'
import { MAX_PROCESSORS, type ProjectDoc } from '../../doc/model'
import { endOf } from '../../doc/timeline'

/** What an import would make of the document, and what it would lack. Pure. */

export type Missing = { kind: 'pipeline' | 'processor' | 'unplaced' | 'lora'; name: string }

export interface Facts {
  takes: number
  durationMs: number
  pipeline: string | null
  mode: ProjectDoc['mode']
  size: string | null
  parameters: number
  before: readonly string[]
  after: readonly string[]
  loras: readonly string[]
  markers: number
}

export interface Prepared {
  name: string
  kind: DocumentContent['kind']
  version: string
  /** The file has pipeline or parameters that can be left out. */
  optional: boolean
  /** The file has takes, which replace those of the document. */
  takes: boolean
  missing: readonly Missing[]
  dropped: number
  adjusted: number
  apply(settings: boolean): (doc: ProjectDoc) => ProjectDoc
}

type Pipelines = Readonly<Record<string, Pipeline>>

const stem = (name: string) =>
  fileName(name)
    .replace(/\.[^.]+$/, '')
    .toLowerCase()

/** The adapter that a file means: by its whole path, by its file name, or by that without its ending. */
export function matchLora(wanted: string, there: readonly LoraEntry[]): LoraEntry | null {
  const name = fileName(wanted).toLowerCase()
  return (
    there.find(({ path }) => path === wanted) ??
    there.find(({ path }) => fileName(path).toLowerCase() === name) ??
    there.find(({ path }) => stem(path) === stem(wanted)) ??
    null
  )
}

/** Puts the server's paths in place of names; names that it does not have stay, and are missing. */
function resolveLoras(params: Record<string, Params>, there: readonly LoraEntry[] | null) {
  const missing = new Set<string>()
  const entries = Object.entries(params).map(([node, values]) => {
    const loras = lorasIn(values)
    if (loras.length === 0) return [node, values] as const
    const resolved = loras.map((lora) => {
      const found = there && matchLora(lora.path, there)
      if (there && !found) missing.add(fileName(lora.path))
      return found ? { ...lora, path: found.path } : lora
    })
    return [node, { ...values, loras: resolved }] as const
  })
  return { params: Object.fromEntries(entries), missing: [...missing] }
}

function usedAs(side: 'before' | 'after', pipeline: Pipeline | undefined): boolean {
  return pipeline?.usage.includes(side === 'before' ? 'preprocessor' : 'postprocessor') === true
}

function withoutMissing(list: readonly string[], pipelines: Pipelines): { kept: string[]; missing: string[] } {
  return { kept: list.filter((id) => pipelines[id]), missing: list.filter((id) => !pipelines[id]) }
}

/** `there`: the adapters on the server; null when it cannot say. */
export function prepare(
  name: string,
  content: DocumentContent,
  pipelines: Pipelines,
  there: readonly LoraEntry[] | null,
): Prepared {
  const { kind, version } = content
  const base = { name, kind, version }
  const missing: Missing[] = []
  const lacks = (kind: Missing['kind'], names: readonly string[]) => {
    for (const name of names) missing.push({ kind, name })
  }
  /** A catalogue that has not come says nothing. */
  const known = Object.keys(pipelines).length > 0
  const unknown = (id: string | null) => known && id !== null && !pipelines[id]

  if (content.kind === 'project') {
    const { document } = content
    const loras = resolveLoras(document.params, there)
    if (unknown(document.pipelineId)) lacks('pipeline', [document.pipelineId ?? ''])
    lacks('lora', loras.missing)
    return {
      ...base,
      optional: false,
      takes: true,
      missing,
      dropped: 0,
      adjusted: 0,
      apply: () => (doc) => ({
        ...document,
        name: doc.name || document.name,
        pipelineId: unknown(document.pipelineId) ? doc.pipelineId : document.pipelineId,
        params: loras.params,
        // What is on air is not changed by reading a file, nor what a camera or a screen is pointed at.
        onAir: doc.onAir,
        source: sourceWith(doc.source, inputOf(document)),
      }),
    }
  }

  const { score } = content
  const before = [...(score.before ?? [])]
  const after = [...(score.after ?? [])]
  const params = { ...score.params }
  for (const id of score.unplaced) {
    const side = usedAs('before', pipelines[id]) ? 'before' : usedAs('after', pipelines[id]) ? 'after' : null
    const list = side === 'before' ? before : after
    if (side && list.length < MAX_PROCESSORS) {
      list.push(id)
      const values = params[id]
      if (values) params[processorNode(side, id)] = values
    } else {
      lacks('unplaced', [id])
    }
  }
  const sides = known
    ? { before: withoutMissing(before, pipelines), after: withoutMissing(after, pipelines) }
    : { before: { kept: before, missing: [] }, after: { kept: after, missing: [] } }
  const loras = resolveLoras(params, there)
  if (unknown(score.pipelineId)) lacks('pipeline', [score.pipelineId ?? ''])
  lacks('processor', [...sides.before.missing, ...sides.after.missing])
  lacks('lora', loras.missing)
  const resolved = {
    ...score,
    params: loras.params,
    before: score.before === null && before.length === 0 ? null : sides.before.kept,
    after: score.after === null && after.length === 0 ? null : sides.after.kept,
  }
  const apply = (settings: boolean) => {
    const change = applyScore(resolved, { settings })
    return (doc: ProjectDoc) => {
      const next = change(doc)
      return unknown(next.pipelineId) ? { ...next, pipelineId: doc.pipelineId } : next
    }
  }
  const optional = score.pipelineId !== null || Object.keys(params).length > 0 || score.mode !== null
  return {
    ...base,
    optional,
    takes: score.blocks.length > 0,
    missing,
    dropped: score.dropped,
    adjusted: score.adjusted,
    apply,
  }
}

export function factsOf(doc: ProjectDoc, pipelines: Pipelines, nowMs: number): Facts {
  const own = doc.pipelineId === null ? {} : (doc.params[doc.pipelineId] ?? {})
  const nameOf = (id: string) => pipelines[id]?.name ?? id
  return {
    takes: doc.blocks.length,
    durationMs: endOf(doc.blocks, nowMs),
    pipeline: doc.pipelineId === null ? null : nameOf(doc.pipelineId),
    mode: doc.mode,
    size: own.width && own.height ? `${String(own.width)} × ${String(own.height)}` : null,
    parameters: Object.keys(own).length,
    before: doc.chain.before.map(nameOf),
    after: doc.chain.after.map(nameOf),
    loras: lorasIn(own).map(({ path }) => fileName(path)),
    markers: doc.markers.length,
  }
}
