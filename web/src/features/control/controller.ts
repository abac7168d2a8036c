import { announce, notify, scope, uiStore } from '../../app'
import { newId } from '../../doc/model'
import { Controller } from '../../engine/controller'
import type { Mapping, MapSource } from '../../engine/mapping'
import { Midi, type MidiAccess, type RequestMidi } from '../../engine/midi'
import { t } from '../../messages'
import { chordLabel, chordOf } from '../shell/chords'
import { commands } from '../shell/commands'
import { commandsFor, keymapStore } from '../shell/keymap'
import { onFreeKey } from '../shell/keys'
import { targetOf } from './targets'

/** The one controller of the page, and the keyboard as one of its devices. */

const m = t.controllers

const request: RequestMidi | null =
  'requestMIDIAccess' in navigator ? async () => (await navigator.requestMIDIAccess()) as unknown as MidiAccess : null

export const midi = new Midi(request, localStorage)
midi.onSystem = (data, at) => scope.music.tempo.midiMessage(data, at)
export const controller = new Controller({
  midi,
  resolve: targetOf,
  storage: localStorage,
  defaultName: m.firstProfile,
  newId,
})

const NOTES = ['C', 'C♯', 'D', 'D♯', 'E', 'F', 'F♯', 'G', 'G♯', 'A', 'A♯', 'B']

export function sourceLabel({ kind, number, channel, chord }: MapSource): string {
  if (kind === 'key') return m.key(chordLabel(chord ?? ''))
  if (kind === 'bend') return m.bend(channel + 1)
  if (kind === 'note') return m.note(`${NOTES[number % 12]}${Math.floor(number / 12) - 1}`, channel + 1)
  return m.cc(number, channel + 1)
}

export function targetLabel({ target }: Mapping): string {
  const found = targetOf(target)
  return found ? found.label : m.absent
}

export function setMapping(on: boolean): void {
  if (!on) controller.learn(null)
  uiStore.setState({ mapping: on })
  if (on) void midi.start()
}

/** Choosing and leaving are never mapped. */
const OURS: ReadonlySet<string> = new Set(['Esc', 'Tab', 'Shift+Tab', 'Enter', 'Space'])

function learnKey(event: KeyboardEvent): void {
  const { learning } = controller.store.getState()
  if (learning === null) return
  const chord = chordOf(event)
  if (chord === 'Esc') {
    event.preventDefault()
    event.stopPropagation()
    controller.learn(null)
    return
  }
  if (chord === null || OURS.has(chord)) return
  event.preventDefault()
  event.stopPropagation()
  const [command] = commandsFor(chord, commands, keymapStore.getState())
  if (command) notify(m.keyTaken(chordLabel(chord), command.label))
  else controller.key(chord, true)
}

function leave(event: KeyboardEvent): void {
  if (event.key === 'Escape' && uiStore.getState().mapping && !event.defaultPrevented) setMapping(false)
}

/** Starts to listen; devices only where the user has allowed them before. */
export function startControl(): void {
  midi.resume()
  const down = new Map<string, string>()
  window.addEventListener('keydown', learnKey, true)
  window.addEventListener('keydown', leave)
  onFreeKey((chord, event) => {
    if (!controller.key(chord, true)) return false
    down.set(event.code, chord)
    return true
  })
  const release = (code: string) => {
    const chord = down.get(code)
    down.delete(code)
    if (chord !== undefined) controller.key(chord, false)
  }
  window.addEventListener('keyup', (event) => release(event.code))
  window.addEventListener('blur', () => {
    for (const code of [...down.keys()]) release(code)
  })
  controller.store.subscribe((next, before) => {
    if (next.learning !== null || before.learning === null) return
    const mapped = controller.mappings.find((mapping) => mapping.target === before.learning)
    const fresh = next.profiles !== before.profiles
    if (fresh && mapped) announce(m.mapped(sourceLabel(mapped.source), targetLabel(mapped)))
  })
}
