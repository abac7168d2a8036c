import { announce, notify, scope } from '../../app'
import * as edits from '../../doc/edits'
import { editBlocks, editDoc, historyStore, redo, undo } from '../../doc/history'
import { addMarker, freeNumber, loopOver, removeMarker } from '../../doc/markers'
import type { Block } from '../../doc/model'
import { setDraft } from '../../doc/prompts'
import { changeDoc, docStore } from '../../doc/store'
import { blockEnd, endOf } from '../../doc/timeline'
import { t } from '../../messages'
import { clock } from '../../ui/format'
import { type Gesture, select, selected, view, viewport, viewStore } from './view'

/** What keys, buttons and menus of the timeline do. */

const steps = t.timeline.steps
const blocks = () => docStore.getState().blocks
const time = () => scope.transport.time()
const chosen = () => blocks().filter(({ id }) => selected().has(id))

/** Runs an edit of the selection; says why when nothing came of it. */
function edit(label: string, change: Gesture['change'], refusal: string, merge: string | null = null): boolean {
  const made = editBlocks(label, change, merge)
  if (made === null) {
    announce(selected().size > 0 && chosen().every(({ locked }) => locked) ? t.timeline.lockedBlock : refusal)
    return false
  }
  if (made.length > 0) select(made)
  return true
}

const needsSelection = (run: () => void) => () => {
  if (selected().size > 0) run()
  else announce(t.timeline.selectFirst)
}

export const splitHere = () => edit(steps.split, (list, now) => edits.split(list, time(), now), t.timeline.cannotSplit)

export const duplicate = needsSelection(() =>
  edit(steps.duplicate, (list, now) => edits.duplicate(list, selected(), now), t.timeline.noRoom),
)

/** Takes the selection away; what stands next to it is selected then. */
const removing = (close: boolean) =>
  needsSelection(() => {
    const list = blocks()
    const last = list.findLastIndex(({ id }) => selected().has(id))
    const next = list[last + 1] ?? list.findLast(({ id }) => !selected().has(id))
    if (edit(steps.remove, (all, now) => edits.remove(all, selected(), close, now), t.timeline.lockedBlock) && next) {
      select([next.id])
    }
  })
export const remove = removing(false)
export const removeClose = removing(true)

export const copy = needsSelection(() => {
  const copies = edits.copy(blocks(), selected(), time())
  viewStore.setState({ copies })
  announce(t.timeline.copied(copies.length))
})

export const cut = needsSelection(() => {
  copy()
  remove()
})

/** Puts copies at the playhead: those given, or else what was copied on this page. */
export function paste(given: readonly Block[] | null = null): void {
  const copies = given ?? view().copies
  if (copies.length === 0) announce(t.timeline.nothingCopied)
  else edit(steps.paste, (list, now) => edits.paste(list, copies, time(), now), t.timeline.noRoom)
}

export const nudge = (ms: number) =>
  needsSelection(() => edit(steps.nudge, (list) => edits.nudge(list, selected(), ms), t.timeline.noRoom, 'nudge'))

export const recolor = (color: number) => () =>
  edit(steps.color, (list) => edits.restyle(list, selected(), { color }), t.timeline.lockedBlock)

export const recut = (hard: boolean) => () =>
  edit(
    steps.cut,
    (list) => edits.restyle(list, selected(), hard ? { cut: 'hard', transition: null } : { cut: 'soft' }),
    t.timeline.lockedBlock,
  )

export const toggleLock = needsSelection(() => {
  const locked = !chosen().every((block) => block.locked)
  edit(steps.lock, (list) => edits.setLocked(list, selected(), locked), t.timeline.lockedBlock)
})

export const toPromptBox = needsSelection(() => {
  const block = chosen()[0]
  if (block && block.prompts.length > 0) changeDoc(setDraft(block.prompts))
})

export function editing(what: 'prompt' | 'label'): void {
  const block = blocks().find(({ id }) => id === view().current) ?? chosen()[0]
  if (!block) announce(t.timeline.selectFirst)
  else if (block.locked) announce(t.timeline.lockedBlock)
  else viewStore.setState({ editing: { id: block.id, what } })
}

export function clear(): void {
  const before = blocks().length
  const { length: kept } = blocks().filter(({ locked }) => locked)
  if (editBlocks(steps.clear, edits.clear) === null) {
    announce(t.timeline.cleanAlready)
    return
  }
  const step = historyStore.getState().past.at(-1)
  notify(t.timeline.cleared(before - kept), {
    label: t.timeline.undo,
    // What was done since is taken back as well.
    run: () => {
      while (step && historyStore.getState().past.includes(step)) goBack()
    },
  })
}

export function goBack(): void {
  const label = undo()
  announce(label === null ? t.timeline.nothingToUndo : t.timeline.undone(label))
}

export function goForth(): void {
  const label = redo()
  announce(label === null ? t.timeline.nothingToRedo : t.timeline.redone(label))
}

/** Puts the playhead somewhere and brings it into view. */
export function seek(ms: number): void {
  scope.transport.seek(ms)
  viewport.reveal(time())
}

export const seekBy = (ms: number) => () => seek(time() + ms)
export const seekEnd = () => seek(Number.MAX_SAFE_INTEGER)

const edges = () => blocks().flatMap((block) => [block.startMs, blockEnd(block, time())])
export const seekPrevious = () => seek(Math.max(0, ...edges().filter((ms) => ms < time() - 1)))
export const seekNext = () => seek(Math.min(...edges().filter((ms) => ms > time() + 1), endOf(blocks(), time())))

/** From the selection if there is one, else from where the playhead is. */
export function playHere(): void {
  scope.playFrom(chosen()[0]?.startMs ?? time())
}

export const zoomIn = () => viewport.zoomBy(1.5)
export const zoomOut = () => viewport.zoomBy(1 / 1.5)
export const fitAll = () => viewport.fit(0, Math.max(endOf(blocks(), time()), 5000))

const spanOf = (list: readonly Block[]): [number, number] | null => {
  const [first, last] = [list[0], list.at(-1)]
  return first && last ? [first.startMs, blockEnd(last, time())] : null
}

export function fitSelection(): void {
  const span = spanOf(chosen())
  if (span) viewport.fit(...span)
  else announce(t.timeline.selectFirst)
}

/** Switches the loop; one over the selection, or over everything, if there is none yet. */
export function toggleLoop(): void {
  editDoc(steps.loop, (doc) => {
    const [from, to] = spanOf(chosen()) ?? [0, endOf(doc.blocks, time())]
    return { ...doc, loop: doc.loop ? { ...doc.loop, on: !doc.loop.on } : loopOver(from, to) }
  })
}

export const loopSelection = needsSelection(() => {
  const span = spanOf(chosen())
  if (span) editDoc(steps.loop, (doc) => ({ ...doc, loop: loopOver(...span) }))
})

export const removeLoop = () => editDoc(steps.loop, (doc) => ({ ...doc, loop: null }))

export function markHere(): void {
  editDoc(steps.marker, (doc) => ({
    ...doc,
    markers: addMarker(doc.markers, time(), String(freeNumber(doc.markers))),
  }))
}

export const unmark = (id: string) =>
  editDoc(steps.marker, (doc) => ({ ...doc, markers: removeMarker(doc.markers, id) }))

export const toggleSnap = () => viewStore.setState(({ snapping }) => ({ snapping: !snapping }))
export const toggleFollow = () => viewStore.setState(({ follow }) => ({ follow: !follow }))

export function selectAll(): void {
  select(
    blocks().map(({ id }) => id),
    view().current ?? blocks()[0]?.id ?? null,
  )
  announce(t.timeline.selected(blocks().length))
}

/** Begins to move the selection with the arrow keys. */
export const beginMoving = needsSelection(() => {
  viewStore.setState({
    gesture: { label: steps.move, keys: true, change: (list) => ({ blocks: list, shiftMs: 0, made: [] }) },
  })
  announce(t.timeline.movingHelp)
})

/** One more step of the move with the arrow keys. */
export function moveBy(ms: number): void {
  const { gesture } = view()
  if (!gesture) return
  const ids = selected()
  const before = gesture.change(blocks(), time()).blocks
  const after = edits.step(before, ids, ms).blocks
  const first = after.find(({ id }) => ids.has(id))
  if (after === before || !first) {
    announce(t.timeline.noRoom)
    return
  }
  const change: Gesture['change'] = (list, now) => edits.step(gesture.change(list, now).blocks, ids, ms)
  viewStore.setState({ gesture: { ...gesture, change } })
  viewport.reveal(first.startMs, blockEnd(first, time()))
  announce(t.timeline.moved(clock(first.startMs), clock(blockEnd(first, time()))))
}

/** Puts down what is being moved: one step of the history. */
export function endGesture(): void {
  const { gesture } = view()
  viewStore.setState({ gesture: null, snapLine: null })
  if (gesture) editBlocks(gesture.label, gesture.change)
}

export function cancelGesture(): void {
  const { gesture } = view()
  viewStore.setState({ gesture: null, snapLine: null })
  if (gesture?.keys) announce(t.timeline.putBack)
}
