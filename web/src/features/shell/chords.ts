/**
 * Keys by name. A chord is modifiers in the order Mod, Alt, Shift and a key: "Mod+Shift+Z". Mod is Control, or Command on a
 * Mac. Letters are upper case; other characters are what the keyboard layout makes of the key, so that "?" is not
 * "Shift+/". Pure.
 */

const NAMED: Readonly<Record<string, string>> = {
  ' ': 'Space',
  '+': 'Plus',
  ArrowLeft: 'Left',
  ArrowRight: 'Right',
  ArrowUp: 'Up',
  ArrowDown: 'Down',
  Escape: 'Esc',
  Delete: 'Del',
}
const MODIFIERS: ReadonlySet<string> = new Set(['Control', 'Meta', 'Alt', 'AltGraph', 'Shift'])

export type KeyLike = Pick<KeyboardEvent, 'key' | 'code' | 'ctrlKey' | 'metaKey' | 'altKey' | 'shiftKey'>

/** The chord of a key press; null for a modifier alone. */
export function chordOf(event: KeyLike): string | null {
  const { key, code, ctrlKey, metaKey, altKey, shiftKey } = event
  if (MODIFIERS.has(key) || key === 'Dead' || key === 'Unidentified') return null
  const letter = /^Key([A-Z])$/.exec(code)?.[1]
  // With Alt a Mac types another character; the command is meant by its letter.
  const plain = altKey && letter && !/^[a-z]$/i.test(key) ? letter : key
  const name = NAMED[plain] ?? (plain.length === 1 ? plain.toUpperCase() : plain)
  const shifted = shiftKey && (/^\p{L}$/u.test(name) || (name.length > 1 && name !== 'Plus'))
  return [ctrlKey || metaKey ? 'Mod' : '', altKey ? 'Alt' : '', shifted ? 'Shift' : '', name].filter(Boolean).join('+')
}

/** Whether it is one printable character: something that also comes from dictation, or from a slip. */
export function isSingle(chord: string): boolean {
  const key = chord.replace(/^Shift\+/, '')
  return key.length === 1 || key === 'Space' || key === 'Plus'
}

const mac = typeof navigator !== 'undefined' && /Mac|iPhone|iPad/.test(navigator.platform)

/** A chord as it stands on this machine's keys. */
export function chordLabel(chord: string, onMac = mac): string {
  const parts = chord.split('+').map((part) => (part === 'Plus' ? '+' : part))
  if (!onMac) return parts.map((part) => (part === 'Mod' ? 'Ctrl' : (ARROWS[part] ?? part))).join('+')
  return parts.map((part) => MAC[part] ?? ARROWS[part] ?? part).join('')
}

const ARROWS: Readonly<Record<string, string>> = { Left: '←', Right: '→', Up: '↑', Down: '↓' }
const MAC: Readonly<Record<string, string>> = { Mod: '⌘', Alt: '⌥', Shift: '⇧' }
