import { uiStore } from '../../app'
import { chordOf, isSingle } from './chords'
import { commands } from './commands'
import { commandsFor, keymapStore } from './keymap'

/** Runs the command of a key press, where the key does not belong to what has the focus. */

const TYPING = 'input:not([type="checkbox"], [type="range"]), textarea, select, [contenteditable="true"]'
const OWN_SPACE =
  'button, a, summary, [role="button"], [role="switch"], [role="radio"], [role="tab"], [role="combobox"], [role="option"]'

type KeyListener = (chord: string, event: KeyboardEvent) => boolean
const listeners = new Set<KeyListener>()

/** Hears the keys that no command has, where single keys would work; true when it made use of one. */
export function onFreeKey(listener: KeyListener): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** Whether a press belongs to the element it happened on. */
function taken(chord: string, target: Element | null, typing: boolean): boolean {
  if (!target) return false
  if (target.closest('[data-modal]')) return true
  if (!typing && target.closest(TYPING)) return true
  if (!isSingle(chord) && /^(Mod|Alt)\+/.test(chord)) return false
  if (target.closest('[role="dialog"], [data-radix-popper-content-wrapper]')) return true
  return (chord === 'Space' || chord === 'Enter') && target.closest(OWN_SPACE) !== null
}

export function handleKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return
  const chord = chordOf(event)
  if (chord === null) return
  if (isSingle(chord) && !uiStore.getState().singleKeys) return
  const target = event.target instanceof Element ? event.target : null
  const command = commandsFor(chord, commands, keymapStore.getState()).find(
    ({ when, typing }) => !taken(chord, target, typing === true) && (!when || when()),
  )
  if (command?.native === chord) return
  if (command) {
    event.preventDefault()
    if (!event.repeat || command.repeats) command.run()
    return
  }
  // A key that is ours everywhere but has nothing to do right now must not open a dialog of the browser's.
  const ours = commandsFor(chord, commands, keymapStore.getState())
  if (ours.some(({ typing }) => typing)) event.preventDefault()
  if (event.repeat || taken(chord, target, false)) return
  for (const listener of listeners) if (listener(chord, event)) event.preventDefault()
}
