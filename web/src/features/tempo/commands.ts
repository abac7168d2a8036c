import { announce, notify, scope, uiStore } from '../../app'
import { editDoc } from '../../doc/history'
import { changeDoc, docStore } from '../../doc/store'
import { GRIDS, type Grid, setTempo, stopModulations } from '../../doc/tempo'
import { t } from '../../messages'
import { chordOf, isSingle, type KeyLike } from '../shell/chords'
import type { Command } from '../shell/command'
import { commandsFor, keymapStore } from '../shell/keymap'

const m = t.tempo
const NUDGE_MS = 10

const settings = () => docStore.getState().tempo
const { tempo } = scope.music

export function tap(): void {
  const found = tempo.tap()
  if (found !== null) announce(m.tapped(found.toFixed(1)))
}

export function toggleTempo(): void {
  const on = !settings().on
  changeDoc(setTempo({ on }))
  announce(m.switched(on))
}

/** Where the beat is, which a MIDI clock knows alone. */
const ours = () => settings().on && settings().source === 'page'

export function setOne(): void {
  tempo.setOne()
  announce(m.oneHint)
}

export const nudge = (ms: number) => () => {
  tempo.nudge(ms)
  announce(m.nudged(ms))
}

export function setGrid(quantize: Grid): void {
  changeDoc(setTempo(quantize === 'none' ? { quantize } : { quantize, on: true }))
}

export function cancelTake(): void {
  scope.music.cancelTake()
  announce(m.cancelled)
}

export const anySwing = () =>
  Object.values(docStore.getState().modulations).some((own) => Object.values(own).some(({ on }) => on))

export function stopAll(): void {
  editDoc(t.tempoCommands.stopAll, stopModulations)
  notify(t.modulation.stopped)
}

const command = (id: string, label: string, keys: readonly string[], run: () => void, more: Partial<Command> = {}) =>
  ({ id: `tempo.${id}`, label, group: 'tempo', keys, run, ...more }) satisfies Command

export const tempoCommands: readonly Command[] = [
  command('tap', t.tempoCommands.tap, ['T'], tap),
  command('toggle', t.tempoCommands.toggle, ['Shift+T'], toggleTempo),
  command('one', t.tempoCommands.one, ['Y'], setOne, { when: ours }),
  command('earlier', t.tempoCommands.earlier, ['['], nudge(-NUDGE_MS), { when: ours, repeats: true }),
  command('later', t.tempoCommands.later, [']'], nudge(NUDGE_MS), { when: ours, repeats: true }),
  command('panel', t.tempoCommands.panel, [], () => uiStore.setState({ tempo: true })),
  ...GRIDS.map((grid) =>
    command(`quantize.${grid}`, t.tempoCommands.quantize(m.grids[grid].toLowerCase()), [], () => setGrid(grid)),
  ),
  command('cancel', t.tempoCommands.cancel, [], cancelTake, { when: () => scope.music.quantiser.waiting !== null }),
  command('stopAll', t.tempoCommands.stopAll, [], stopAll, { when: anySwing }),
]

/** The keys of the tempo in its own panel, where single keys belong to nobody else; true when there was one. */
export function pressKey(event: KeyLike & Pick<KeyboardEvent, 'target' | 'repeat'>): boolean {
  const chord = chordOf(event)
  const typing = event.target instanceof Element && event.target.closest('input, [role="listbox"]') !== null
  if (chord === null || typing || (isSingle(chord) && !uiStore.getState().singleKeys)) return false
  const command = commandsFor(chord, tempoCommands, keymapStore.getState()).find(({ when }) => !when || when())
  if (!command) return false
  if (!event.repeat || command.repeats) command.run()
  return true
}
