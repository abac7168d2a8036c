import { createStore } from 'zustand/vanilla'
import type { Edit } from './edits'
import type { Block, ProjectDoc } from './model'
import { rebase } from './rebase'
import { rebaseParams } from './rebaseParams'
import { changeDoc, docStore } from './store'

/**
 * Undo and redo of edits of the document. Playing changes the document too, but is no edit and makes no step; what it has
 * added since a step stays when the step is undone (`rebase.ts`), as do parameters that others have changed since
 * (`rebaseParams.ts`).
 */

export const UNDO_LIMIT = 200
/** Edits of the same kind in quick succession, as from a key held down, are one step. */
const MERGE_MS = 1000
/** Edits of different parameters that come this close are several hands, or several knobs, at once. */
const TOGETHER_MS = 120
const MAX_LABEL = 40

/** What an edit can change. Whatever else is in the document stays as it is when a step is undone. */
const EDITED = [
  'name',
  'mode',
  'pipelineId',
  'chain',
  'params',
  'blend',
  'deck',
  'bank',
  'banks',
  'blocks',
  'markers',
  'loop',
  'modulations',
  'extra',
] as const
type Edited = Pick<ProjectDoc, (typeof EDITED)[number]>

interface Step {
  label: string
  before: Edited
  after: Edited
  /** By how much the step moved the live end, null if nothing was live. */
  shiftMs: number | null
  /** The clock when it was done. */
  nowMs: number
  merge: readonly string[]
  at: number
}

interface HistoryState {
  past: readonly Step[]
  future: readonly Step[]
}

/** The clock of what is live, as far as edits have to know it. */
export interface Clock {
  time(): number
  /** Whether playing adds to the end of the timeline. */
  atEnd(): boolean
  /** Moves the clock along with the live end, before the blocks change. */
  shift(ms: number): void
}

export const historyStore = createStore<HistoryState>(() => ({ past: [], future: [] }))

let clock: Clock = { time: () => 0, atEnd: () => false, shift: () => undefined }

export function bindClock(own: Clock): void {
  clock = own
}

const edited = (doc: ProjectDoc): Edited =>
  Object.fromEntries(EDITED.map((key) => [key, doc[key]])) as unknown as Edited

interface EditOptions {
  /** By how much the edit moves the live end. */
  shiftMs?: number
  /** Edits with the same key that follow each other at once are one step. */
  merge?: string | null
  /** How far apart they may be; for as long as a hand holds on. */
  mergeMs?: number
  /** One of several that can be changed at the same time, and then all in one step. */
  together?: boolean
}

/** A step that an edit belongs to, with the edit in it; null where it is a step of its own. */
function joined(
  last: Step | undefined,
  next: Step,
  { mergeMs = MERGE_MS, together = false }: EditOptions,
): Step | null {
  const [key] = next.merge
  if (!last || key === undefined || last.merge.length === 0) return null
  const known = last.merge.includes(key)
  if (next.at - last.at >= (known ? mergeMs : together ? TOGETHER_MS : 0)) return null
  const touched = EDITED.filter((name) => name !== 'params' && last.before[name] !== last.after[name])
  if (touched.some((name) => last.after[name] !== next.before[name])) return null
  const before = {
    ...next.before,
    ...Object.fromEntries(touched.map((name) => [name, last.before[name]])),
    // What others have changed between the two is no part of the step.
    params: rebaseParams({ from: last.after.params, to: next.before.params, current: last.before.params }),
  }
  const label =
    last.label.includes(next.label) || last.label.length > MAX_LABEL ? last.label : `${last.label}, ${next.label}`
  return {
    ...next,
    label,
    before,
    shiftMs: next.shiftMs === null ? null : (last.shiftMs ?? 0) + next.shiftMs,
    nowMs: touched.length > 0 ? last.nowMs : next.nowMs,
    merge: known ? last.merge : [...last.merge, key],
  }
}

/** Changes the document as one step that can be undone; `label` says what was done. */
export function editDoc(label: string, change: (doc: ProjectDoc) => ProjectDoc, options: EditOptions = {}): void {
  const { shiftMs = 0, merge = null } = options
  const doc = docStore.getState()
  const next = change(doc)
  const [before, after] = [edited(doc), edited(next)]
  const [nowMs, live] = [clock.time(), clock.atEnd()]
  if (shiftMs !== 0) clock.shift(shiftMs)
  changeDoc(() => next)
  if (EDITED.every((key) => before[key] === after[key])) return
  const { past } = historyStore.getState()
  const at = performance.now()
  const own = { label, before, after, shiftMs: live ? shiftMs : null, nowMs, merge: merge === null ? [] : [merge], at }
  const one = joined(past.at(-1), own, options)
  const steps = one ? [...past.slice(0, -1), one] : [...past, own].slice(-UNDO_LIMIT)
  historyStore.setState({ past: steps, future: [] })
}

/** Edits the blocks as one step; gives back the ids of the blocks it made, or null when nothing changed. */
export function editBlocks(
  label: string,
  change: (blocks: readonly Block[], nowMs: number) => Edit,
  merge: string | null = null,
): readonly string[] | null {
  const { blocks } = docStore.getState()
  const edit = change(blocks, clock.time())
  if (edit.blocks === blocks) return null
  editDoc(label, (doc) => ({ ...doc, blocks: [...edit.blocks] }), { shiftMs: edit.shiftMs, merge })
  return edit.made
}

function go(step: Step, way: 'back' | 'forth'): void {
  const [from, to] = way === 'back' ? [step.after, step.before] : [step.before, step.after]
  const doc = docStore.getState()
  const changed = EDITED.filter((key) => from[key] !== to[key])
  const next: ProjectDoc = { ...doc, ...Object.fromEntries(changed.map((key) => [key, to[key]])) }
  next.params = rebaseParams({ from: from.params, to: to.params, current: doc.params })
  if (changed.includes('blocks')) {
    const shiftMs = step.shiftMs === null || way === 'forth' ? step.shiftMs : -step.shiftMs
    const blocks = { from: from.blocks, to: to.blocks, current: doc.blocks }
    const rebased = rebase({ ...blocks, shiftMs, nowMs: step.nowMs })
    next.blocks = rebased.blocks
    if (clock.atEnd()) {
      const last = rebased.blocks.at(-1)
      const edge = last ? (last.endMs ?? last.startMs) : 0
      clock.shift(Math.max(rebased.shiftMs, edge - clock.time()))
    }
  }
  changeDoc(() => next)
}

/** What somebody has gone through the history to is finished: nothing joins it any more. */
const sealed = (steps: readonly Step[]): Step[] =>
  steps.map((step, i) => (i === steps.length - 1 && step.merge.length > 0 ? { ...step, merge: [] } : step))

/** Takes the last edit back; answers what it was, or null when there is none. */
export function undo(): string | null {
  const { past, future } = historyStore.getState()
  const last = past.at(-1)
  if (!last) return null
  historyStore.setState({ past: sealed(past.slice(0, -1)), future: [...future, last] })
  go(last, 'back')
  return last.label
}

/** Does again what was last taken back. */
export function redo(): string | null {
  const { past, future } = historyStore.getState()
  const last = future.at(-1)
  if (!last) return null
  historyStore.setState({ past: sealed([...past, last]), future: future.slice(0, -1) })
  go(last, 'forth')
  return last.label
}
