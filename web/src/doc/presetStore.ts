import { get, update } from 'idb-keyval'
import { createStore } from 'zustand/vanilla'
import { type Preset, presetSchema } from './presets'

/** The presets of this browser. */

const KEY = 'scope.presets'

export const presetStore = createStore<{ presets: readonly Preset[]; known: boolean }>(() => ({
  presets: [],
  known: false,
}))

function valid(stored: unknown): Preset[] {
  return (Array.isArray(stored) ? stored : []).flatMap((entry) => {
    const parsed = presetSchema.safeParse(entry)
    return parsed.success ? [parsed.data] : []
  })
}

export async function loadPresets(): Promise<void> {
  const presets = valid(await get<unknown>(KEY).catch(() => []))
  presetStore.setState({ presets, known: true })
}

/** Changes what is stored, which another window may have changed meanwhile. False when nothing can be stored. */
export async function changePresets(change: (presets: readonly Preset[]) => Preset[]): Promise<boolean> {
  let next: Preset[] = []
  try {
    await update<unknown>(KEY, (stored) => {
      next = change(valid(stored))
      return next
    })
  } catch {
    return false
  }
  presetStore.setState({ presets: next, known: true })
  return true
}
