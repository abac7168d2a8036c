import { MAX_PROCESSORS, type ProjectDoc } from './model'

/** Changes of what stands before and after the pipeline. Pure. */

export type Side = 'before' | 'after'

/** The id of a processor's node, which is also the name of its parameters in the document. */
export function processorNode(side: Side, pipelineId: string): string {
  return `${side}:${pipelineId}`
}

const change = (side: Side, next: (list: readonly string[]) => string[]) => (doc: ProjectDoc) => {
  const list = next(doc.chain[side]).slice(0, MAX_PROCESSORS)
  return { ...doc, chain: { ...doc.chain, [side]: list } }
}

/** Adds a processor at the end; once on each side. */
export function addProcessor(side: Side, pipelineId: string) {
  return change(side, (list) => (list.includes(pipelineId) ? [...list] : [...list, pipelineId]))
}

/** Its parameters are kept, for the next time. */
export function removeProcessor(side: Side, pipelineId: string) {
  return change(side, (list) => list.filter((id) => id !== pipelineId))
}

/** Leaves these out on both sides. */
export function withoutProcessors(ids: ReadonlySet<string>) {
  return (doc: ProjectDoc): ProjectDoc => {
    const keep = (list: readonly string[]) => list.filter((id) => !ids.has(id))
    return { ...doc, chain: { ...doc.chain, before: keep(doc.chain.before), after: keep(doc.chain.after) } }
  }
}

export function moveProcessor(side: Side, pipelineId: string, by: number) {
  return change(side, (list) => {
    const from = list.indexOf(pipelineId)
    const to = from + by
    if (from < 0 || to < 0 || to >= list.length) return [...list]
    const next = list.filter((id) => id !== pipelineId)
    next.splice(to, 0, pipelineId)
    return next
  })
}

export function setControl(control: boolean) {
  return (doc: ProjectDoc): ProjectDoc => ({ ...doc, chain: { ...doc.chain, control } })
}
