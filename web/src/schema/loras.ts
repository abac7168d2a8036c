import type { Params } from '../api/types'
import { z } from '../api/zod'

/** LoRA adapters among the parameters of a pipeline. Pure. */

export const LORA_MIN = -10
export const LORA_MAX = 10
export const LORA_STEP = 0.1
/** The most that a pipeline takes. */
export const MAX_LORAS = 16

export type MergeMode = 'permanent_merge' | 'runtime_peft'

/** An adapter of a pipeline: merged into the weights, or beside them, where its strength can change while they run. */
export interface Adapter {
  path: string
  scale: number
  merge_mode: MergeMode
}

const entrySchema = z.looseObject({
  path: z.string().check(z.minLength(1)),
  scale: z.catch(z.number(), 1),
  merge_mode: z.catch(z.nullish(z.string()), null),
})

const modeOf = (name: unknown): MergeMode => (name === 'runtime_peft' ? 'runtime_peft' : 'permanent_merge')

/** What a document says about adapters, which may come from a file; `strategy` is for those that say nothing themselves. */
export function adaptersOf(value: unknown, strategy: unknown): Adapter[] {
  const known = new Set<string>()
  return (Array.isArray(value) ? value : [])
    .flatMap((entry) => {
      const parsed = entrySchema.safeParse(entry)
      if (!parsed.success || known.has(parsed.data.path)) return []
      const { path, scale, merge_mode } = parsed.data
      known.add(path)
      return [
        { path, scale: Math.min(LORA_MAX, Math.max(LORA_MIN, scale)), merge_mode: modeOf(merge_mode ?? strategy) },
      ]
    })
    .slice(0, MAX_LORAS)
}

/** The message that sets the strengths of those that are not merged. */
export function scalesOf(adapters: readonly Adapter[]): { path: string; scale: number }[] {
  return adapters.filter(({ merge_mode }) => merge_mode === 'runtime_peft').map(({ path, scale }) => ({ path, scale }))
}

/** What of a load's parameters only another load can change. */
export function fixedPart(load: Params): Params {
  const { loras, lora_merge_strategy: strategy, lora_merge_mode: mode, ...others } = load
  const adapters = adaptersOf(loras, mode ?? strategy)
  if (adapters.length === 0) return others
  const fixed = adapters.map(({ scale, ...entry }) =>
    entry.merge_mode === 'runtime_peft' ? entry : { ...entry, scale },
  )
  return { ...others, loras: fixed }
}

/** The adapters that are loaded, those that are not merged as strong as they are now. */
export function asLoaded(now: unknown, loaded: unknown): Adapter[] {
  const present = adaptersOf(now, null)
  return adaptersOf(loaded, null).map((entry) => {
    const same = present.find(({ path }) => path === entry.path)
    return same && entry.merge_mode === 'runtime_peft' ? { ...entry, scale: same.scale } : entry
  })
}
