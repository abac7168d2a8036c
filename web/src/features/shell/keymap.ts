import { createStore } from 'zustand/vanilla'
import { z } from '../../api/zod'
import type { Command } from './command'

/** Which keys run which command: everyone's defaults, and the user's own choices over them. */

const STORAGE_KEY = 'scope.keys'
const ownSchema = z.record(z.string(), z.array(z.string()))
type OwnKeys = z.infer<typeof ownSchema>

function read(): OwnKeys {
  try {
    return ownSchema.parse(JSON.parse(localStorage.getItem(STORAGE_KEY) ?? '{}'))
  } catch {
    return {}
  }
}

/** The user's own keys by command; a missing command has its defaults. */
export const keymapStore = createStore<OwnKeys>(read)

/** Gives a command other keys, or its defaults again. */
export function setKeys(id: string, keys: readonly string[] | null): void {
  const { [id]: _, ...others } = keymapStore.getState()
  keymapStore.setState(keys === null ? others : { ...others, [id]: [...keys] }, true)
  save()
}

export function resetKeys(): void {
  keymapStore.setState({}, true)
  save()
}

function save(): void {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(keymapStore.getState()))
  } catch {
    // A full or forbidden storage: the keys hold until the page is closed.
  }
}

export function keysOf({ id, keys }: Pick<Command, 'id' | 'keys'>, own: OwnKeys): readonly string[] {
  return own[id] ?? keys ?? []
}

/** The commands of a chord, in the order in which they are asked. */
export function commandsFor(chord: string, commands: readonly Command[], own: OwnKeys): Command[] {
  return commands.filter((command) => keysOf(command, own).includes(chord))
}

/** Chords that the user gave to several commands, by command. What shares a key from the start does so on purpose. */
export function conflictsOf(commands: readonly Command[], own: OwnKeys): Map<string, Command[]> {
  const conflicts = new Map<string, Command[]>()
  for (const command of commands) {
    const rivals = commands.filter(
      (other) =>
        other !== command &&
        (own[other.id] !== undefined || own[command.id] !== undefined) &&
        keysOf(other, own).some((chord) => keysOf(command, own).includes(chord)),
    )
    if (rivals.length > 0) conflicts.set(command.id, rivals)
  }
  return conflicts
}
