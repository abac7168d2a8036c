/** What keys, the palette and controllers can do. One object per command, so that every way to call it does the same. */
export interface Command {
  /** Stable: people's own keys are kept under it. */
  id: string
  label: string
  group: CommandGroup
  /** The keys it has until the user chooses others, as in `chords.ts`: "R", "Shift+F", "Mod+K", "Alt+Enter", "Space". */
  keys?: readonly string[]
  /** Whether it has anything to do right now; it always has when this is absent. Commands that exclude each other may share a key. */
  when?(): boolean
  /** Works in text fields too. Only for keys with Mod or Alt. */
  typing?: boolean
  /** A key by which the browser itself brings an event that does it; under another key, `run` does. */
  native?: string
  /** A key that is held down runs it again and again. */
  repeats?: boolean
  run(): void
}

/** In the order in which they are listed. */
export const COMMAND_GROUPS = ['perform', 'prompt', 'deck', 'timeline', 'tempo', 'project', 'output', 'view'] as const
export type CommandGroup = (typeof COMMAND_GROUPS)[number]
