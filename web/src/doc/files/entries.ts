import { z } from '../../api/zod'
import { type Block, type Method, methodSchema, newId, type WirePrompt } from '../model'
import { MIN_BLOCK_MS } from '../timeline'
import { largestRemainder } from '../weights'
import { type Json, others } from './json'

/** The entries of a timeline file and of a workflow's timeline, which differ in nothing but their keys. */

/** Eleven days, in seconds: more than any performance, and exact in milliseconds. */
const MAX_SECONDS = 1_000_000
const MAX_PROMPTS_READ = 64
/** What the formats mean where only the other half of a transition is given. */
const USUAL_STEPS = 4
const USUAL_METHOD: Method = 'slerp'

export const promptSchema = z.looseObject({ text: z.string(), weight: z._default(z.number().check(z.gte(0)), 100) })
export const promptsSchema = z.array(promptSchema).check(z.maxLength(MAX_PROMPTS_READ))
export const secondsSchema = z.number().check(z.gte(0), z.lte(MAX_SECONDS))
export const stepsSchema = z.int().check(z.gte(0), z.lte(1000))
export const optionalMethod = z.nullish(methodSchema)

export interface Entry {
  startMs: number
  endMs: number
  prompts: z.infer<typeof promptsSchema>
  steps: number | null | undefined
  method: Method | null | undefined
  extra: Json | undefined
}

/** How the two formats call the same things. */
export interface EntryKeys {
  start: string
  end: string
  steps: string
  method: string
}

export function msOf(seconds: number): number {
  return Math.round(seconds * 1000)
}

export function transitionFrom(
  steps: number | null | undefined,
  method: Method | null | undefined,
): Block['transition'] {
  if (steps == null && method == null) return null
  return { steps: steps ?? USUAL_STEPS, method: method ?? USUAL_METHOD }
}

/** Shares of 100, whatever scale the file used: a lone prompt may carry 1 or 100. */
export function sharesOf(prompts: readonly { text: string; weight: number }[]): WirePrompt[] {
  const shares = largestRemainder(prompts.map(({ weight }) => weight))
  return prompts.map(({ text }, i) => ({ text, weight: shares[i] ?? 0 }))
}

/** Keys of prompts that we do not know are kept with their block, in the order of the prompts. */
function promptExtras(prompts: Entry['prompts']): Json | undefined {
  const rest = prompts.map((prompt) => others(prompt, ['text', 'weight']) ?? {})
  return rest.some((keys) => Object.keys(keys).length > 0) ? { prompts: rest } : undefined
}

export interface Settled {
  blocks: Block[]
  /** Entries without length, or hidden by others. */
  dropped: number
  /** Entries that were shortened because they overlapped, or made as long as a take has to be. */
  adjusted: number
}

/** What our own files know about a block that the formats have no place for. */
export const blockNoteSchema = z.looseObject({
  label: z.optional(z.string()),
  locked: z.optional(z.boolean()),
  color: z.optional(z.int().check(z.gte(1), z.lte(8))),
  cut: z.optional(z.enum(['soft', 'hard'])),
})
export type BlockNote = z.infer<typeof blockNoteSchema>

const COLORS = 8

/** Makes blocks that keep the timeline's rules: in order, without overlap, none too short. */
export function settle(entries: readonly Entry[], notes: readonly BlockNote[] = []): Settled {
  const noted = entries.map((entry, i) => ({ ...entry, note: notes.length === entries.length ? notes[i] : undefined }))
  const real = noted.filter(({ startMs, endMs }) => endMs > startMs).sort((a, b) => a.startMs - b.startMs)
  const kept: Block[] = []
  let adjusted = 0
  let limit = Number.POSITIVE_INFINITY
  for (const entry of real.toReversed()) {
    const endMs = Math.min(limit, Math.max(Math.min(entry.endMs, limit), entry.startMs + MIN_BLOCK_MS))
    if (endMs - entry.startMs < MIN_BLOCK_MS) continue
    if (endMs !== entry.endMs) adjusted += 1
    limit = entry.startMs
    const extra = { ...entry.extra, ...promptExtras(entry.prompts) }
    const { label, locked, color, cut } = entry.note ?? {}
    kept.push({
      id: newId(),
      startMs: entry.startMs,
      endMs,
      prompts: sharesOf(entry.prompts),
      transition: transitionFrom(entry.steps, entry.method),
      cut: cut ?? 'soft',
      color: color ?? 0,
      ...(label === undefined ? {} : { label }),
      ...(locked === undefined ? {} : { locked }),
      ...(Object.keys(extra).length > 0 ? { extra } : {}),
    })
  }
  kept.reverse()
  const blocks = kept.map((block, i) => (block.color === 0 ? { ...block, color: (i % COLORS) + 1 } : block))
  return { blocks, dropped: entries.length - blocks.length, adjusted }
}

/** A block as an entry with the format's keys. `nowMs` ends one that is live. */
export function entryOf(block: Block, keys: EntryKeys, nowMs: number): Json {
  const { prompts: extras, ...extra } = block.extra ?? {}
  const perPrompt = Array.isArray(extras) && extras.length === block.prompts.length ? (extras as unknown[]) : []
  const shares = sharesOf(block.prompts)
  const endMs = block.endMs ?? Math.max(Math.round(nowMs), block.startMs + MIN_BLOCK_MS)
  return {
    ...extra,
    [keys.start]: block.startMs / 1000,
    [keys.end]: endMs / 1000,
    prompts: shares.map((prompt, i) => ({ ...(perPrompt[i] as Json | undefined), ...prompt })),
    ...(block.transition ? { [keys.steps]: block.transition.steps, [keys.method]: block.transition.method } : {}),
  }
}

export function noteOf({ label, locked, color, cut }: Block): BlockNote {
  return {
    color,
    cut,
    ...(label === undefined ? {} : { label }),
    ...(locked === undefined ? {} : { locked }),
  }
}
