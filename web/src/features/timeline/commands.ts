import { docStore } from '../../doc/store'
import { t } from '../../messages'
import type { Command } from '../shell/command'
import * as actions from './actions'
import * as clipboard from './clipboard'
import { canCopy, canPaste, here, inside } from './focus'
import { view } from './view'

const FINE_MS = 100
const COARSE_MS = 1000

const any = () => docStore.getState().blocks.length > 0
const some = () => view().selection.length > 0
const mine = () => some() && here()
const free = () => here() && view().gesture === null

/** From a menu: with the keys, the browser's own events do it. */
export const copyOut = (run: () => void) => () => {
  run()
  void clipboard.offer(view().copies)
}
export const pasteIn = () => {
  void clipboard.found().then((blocks) => actions.paste(blocks))
}

const command = (id: string, label: string, keys: readonly string[], run: () => void, more: Partial<Command> = {}) =>
  ({ id: `timeline.${id}`, label, group: 'timeline', keys, run, ...more }) satisfies Command

export const timelineCommands: readonly Command[] = [
  command('undo', t.timeline.undo, ['Mod+Z'], actions.goBack, { repeats: true }),
  command('redo', t.timeline.redo, ['Mod+Shift+Z', 'Mod+Y'], actions.goForth, { repeats: true }),
  command('playHere', t.timeline.playHere, ['Shift+Space'], actions.playHere, { when: any }),
  command('seekBack', t.timeline.seekBack, ['Left'], actions.seekBy(-COARSE_MS), { repeats: true, when: free }),
  command('seekForth', t.timeline.seekForth, ['Right'], actions.seekBy(COARSE_MS), { repeats: true, when: free }),
  command('seekBackFine', t.timeline.seekBackFine, ['Shift+Left'], actions.seekBy(-FINE_MS), {
    repeats: true,
    when: free,
  }),
  command('seekForthFine', t.timeline.seekForthFine, ['Shift+Right'], actions.seekBy(FINE_MS), {
    repeats: true,
    when: free,
  }),
  command('seekStart', t.timeline.seekStart, ['Home'], () => actions.seek(0), { when: free }),
  command('seekEnd', t.timeline.seekEnd, ['End'], actions.seekEnd, { when: free }),
  command('seekPrevious', t.timeline.seekPrevious, ['PageUp'], actions.seekPrevious, { repeats: true, when: free }),
  command('seekNext', t.timeline.seekNext, ['PageDown'], actions.seekNext, { repeats: true, when: free }),
  command('split', t.timeline.split, ['S'], actions.splitHere, { when: any }),
  command('duplicate', t.timeline.duplicate, ['D'], actions.duplicate, { when: any }),
  command('remove', t.timeline.remove, ['Del', 'Backspace'], actions.remove, { when: mine }),
  command('removeClose', t.timeline.removeClose, ['Shift+Del'], actions.removeClose, { when: mine }),
  command('copy', t.timeline.copy, ['Mod+C'], copyOut(actions.copy), { when: canCopy, native: 'Mod+C' }),
  command('cut', t.timeline.cut, ['Mod+X'], copyOut(actions.cut), { when: canCopy, native: 'Mod+X' }),
  command('paste', t.timeline.paste, ['Mod+V'], pasteIn, { when: canPaste, native: 'Mod+V' }),
  command('nudgeLeft', t.timeline.nudgeLeft, [','], actions.nudge(-FINE_MS), { repeats: true, when: some }),
  command('nudgeRight', t.timeline.nudgeRight, ['.'], actions.nudge(FINE_MS), { repeats: true, when: some }),
  command('edit', t.timeline.edit, ['F2'], () => actions.editing('prompt'), { when: some }),
  command('rename', t.timeline.rename, ['Shift+F2'], () => actions.editing('label'), { when: some }),
  command('lock', t.timeline.lock, [], actions.toggleLock, { when: some }),
  command('move', t.timeline.moveMode, ['M'], actions.beginMoving, { when: () => inside() && some() }),
  command('loop', t.timeline.loop, ['L'], actions.toggleLoop, { when: () => inside() && any() }),
  command('loopSelection', t.timeline.loopSelection, ['Shift+L'], actions.loopSelection, { when: some }),
  command('noLoop', t.timeline.noLoop, [], actions.removeLoop, { when: () => docStore.getState().loop !== null }),
  command('marker', t.timeline.marker, ['Shift+M'], actions.markHere),
  command('snap', t.timeline.snap, ['N'], actions.toggleSnap),
  command('follow', t.timeline.follow, ['Shift+N'], actions.toggleFollow),
  command('zoomIn', t.timeline.zoomIn, ['Plus', '='], actions.zoomIn, { repeats: true }),
  command('zoomOut', t.timeline.zoomOut, ['-'], actions.zoomOut, { repeats: true }),
  command('fit', t.timeline.fit, ['Z'], actions.fitAll),
  command('fitSelection', t.timeline.fitSelection, ['Shift+Z'], actions.fitSelection, { when: some }),
  command('clear', t.timeline.clear, [], actions.clear, { when: any }),
]
