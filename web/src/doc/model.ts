import { modeSchema } from '../api/types'
import { z } from '../api/zod'

/** The project document: everything a reload must bring back. Plain data, validated when read. */

export const DEFAULT_PROMPT = 'a dog walking in grass'
export const EXAMPLE_PROMPTS: readonly string[] = [
  DEFAULT_PROMPT,
  'a cow walking in grass',
  'a dragon flying through clouds',
  'a robot walking on mars',
]
export const MAX_PROMPTS = 4
export const DECK_SLOTS = 8
export const MAX_TRANSITION_STEPS = 16
export const HISTORY_LIMIT = 100
/** Most processors on either side of a pipeline. */
export const MAX_PROCESSORS = 4

export const wirePromptSchema = z.object({ text: z.string(), weight: z.number() })
/** A prompt as sent to the server; weights are integer shares of 100. */
export type WirePrompt = z.infer<typeof wirePromptSchema>

export const draftPromptSchema = wirePromptSchema.extend({ id: z.string(), locked: z.boolean() })
export type DraftPrompt = z.infer<typeof draftPromptSchema>

export const methodSchema = z.enum(['linear', 'slerp'])
export type Method = z.infer<typeof methodSchema>

export const blockSchema = z.object({
  id: z.string(),
  /** Milliseconds of media time; `endMs` is null while the block is live and still growing. */
  startMs: z.number().int(),
  endMs: z.number().int().nullable(),
  prompts: z.array(wirePromptSchema),
  transition: z.object({ steps: z.number(), method: methodSchema }).nullable(),
  cut: z.enum(['soft', 'hard']),
  color: z.number().int().min(1).max(8),
})
export type Block = z.infer<typeof blockSchema>

export const deckSlotSchema = z.array(wirePromptSchema).nullable()
export type DeckSlot = z.infer<typeof deckSlotSchema>

export const sourceSchema = z.object({
  kind: z.enum(['file', 'camera']),
  deviceId: z.string().nullable(),
  mirror: z.boolean(),
  fit: z.enum(['cover', 'contain']),
  /** Name of the user's own clip (kept in the browser's database); null means the bundled loop. */
  clip: z.string().nullable(),
})
export type SourceSettings = z.infer<typeof sourceSchema>

/** What stands before and after the pipeline, by id, in the order in which pictures pass. */
export const chainSchema = z.object({
  before: z.array(z.string()).max(MAX_PROCESSORS),
  after: z.array(z.string()).max(MAX_PROCESSORS),
  /** The input guides the shapes, where the pipeline can do that, instead of being painted over. */
  control: z.boolean(),
})
export type ChainSettings = z.infer<typeof chainSchema>
export const PLAIN_CHAIN: ChainSettings = { before: [], after: [], control: false }

export const docSchema = z.object({
  version: z.literal(1),
  name: z.string(),
  mode: modeSchema,
  /** Null until the user or the first catalogue chose one. */
  pipelineId: z.string().nullable(),
  chain: chainSchema.default(PLAIN_CHAIN),
  /** The user's own values by node, which for the pipeline itself is its id; a missing key means the default. */
  params: z.record(z.string(), z.record(z.string(), z.unknown())),
  draft: z.array(draftPromptSchema).min(1).max(MAX_PROMPTS),
  onAir: z.array(wirePromptSchema).min(1),
  cue: z.boolean(),
  /** Null fields follow the pipeline's default. */
  transition: z.object({ steps: z.number().int().nullable(), method: methodSchema.nullable() }),
  deck: z.array(deckSlotSchema).length(DECK_SLOTS),
  history: z.array(z.string()),
  blocks: z.array(blockSchema),
  source: sourceSchema,
})
export type ProjectDoc = z.infer<typeof docSchema>

let counter = 0
export function newId(): string {
  counter += 1
  return `${Date.now().toString(36)}-${counter.toString(36)}`
}

export function draftPrompt(text: string, weight = 100): DraftPrompt {
  return { id: newId(), text, weight, locked: false }
}

export function newDoc(): ProjectDoc {
  return {
    version: 1,
    name: '',
    mode: 'video',
    pipelineId: null,
    chain: PLAIN_CHAIN,
    params: {},
    draft: [draftPrompt(DEFAULT_PROMPT)],
    onAir: [{ text: DEFAULT_PROMPT, weight: 100 }],
    cue: false,
    transition: { steps: null, method: null },
    deck: Array.from({ length: DECK_SLOTS }, () => null),
    history: [],
    blocks: [],
    source: { kind: 'file', deviceId: null, mirror: false, fit: 'cover', clip: null },
  }
}
