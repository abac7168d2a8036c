import { modeSchema } from '../api/types'
import { z } from '../api/zod'
import { modulationsSchema, tempoSchema, USUAL_TEMPO } from './tempo'

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
export const DECK_BANKS = 4
export const MAX_TRANSITION_STEPS = 16
export const HISTORY_LIMIT = 100
/** Most processors on either side of a pipeline. */
export const MAX_PROCESSORS = 4

export const wirePromptSchema = z.object({ text: z.string(), weight: z.number() })
/** A prompt as sent to the server; weights are integer shares of 100. */
export type WirePrompt = z.infer<typeof wirePromptSchema>
/** What is on air: at least one prompt. */
export const wirePromptsSchema = z.array(wirePromptSchema).check(z.minLength(1))

export const draftPromptSchema = z.extend(wirePromptSchema, { id: z.string(), locked: z.boolean() })
export type DraftPrompt = z.infer<typeof draftPromptSchema>

export const methodSchema = z.enum(['linear', 'slerp'])
export type Method = z.infer<typeof methodSchema>

export const blockSchema = z.object({
  id: z.string(),
  /** Milliseconds of media time; `endMs` is null while the block is live and still growing. */
  startMs: z.int(),
  endMs: z.nullable(z.int()),
  prompts: z.array(wirePromptSchema),
  transition: z.nullable(z.object({ steps: z.number(), method: methodSchema })),
  cut: z.enum(['soft', 'hard']),
  color: z.int().check(z.gte(1), z.lte(8)),
  /** What the block is called instead of its prompt. */
  label: z.optional(z.string()),
  /** Not moved, trimmed, replaced or deleted by anything but unlocking it. */
  locked: z.optional(z.boolean()),
  /** Keys of an imported file that we do not know, given back when it is exported. */
  extra: z.optional(z.record(z.string(), z.unknown())),
})
export type Block = z.infer<typeof blockSchema>

export const markerSchema = z.object({ id: z.string(), atMs: z.int(), label: z.string() })
/** A named moment of the timeline. */
export type Marker = z.infer<typeof markerSchema>

export const loopSchema = z.object({ inMs: z.int(), outMs: z.int(), on: z.boolean() })
/** The part of the timeline that repeats while `on`. */
export type Loop = z.infer<typeof loopSchema>

export const deckSlotSchema = z.nullable(z.array(wirePromptSchema))
export type DeckSlot = z.infer<typeof deckSlotSchema>

export const sourceSchema = z.object({
  kind: z.enum(['file', 'camera', 'screen']),
  deviceId: z.nullable(z.string()),
  /** Lines that the camera is asked for; null leaves it to us. */
  cameraHeight: z._default(z.nullable(z.int().check(z.positive())), null),
  mirror: z.boolean(),
  fit: z.enum(['cover', 'contain']),
  /** Name of the user's own clip (kept in the browser's database); null means the bundled loop. */
  clip: z.nullable(z.string()),
  /** Where the clip lies on the server, if it does: it then goes with the document. */
  asset: z.optional(z.string()),
})
export type SourceSettings = z.infer<typeof sourceSchema>

/** What stands before and after the pipeline, by id, in the order in which pictures pass. */
export const chainSchema = z.object({
  before: z.array(z.string()).check(z.maxLength(MAX_PROCESSORS)),
  after: z.array(z.string()).check(z.maxLength(MAX_PROCESSORS)),
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
  pipelineId: z.nullable(z.string()),
  chain: z._default(chainSchema, PLAIN_CHAIN),
  /** The user's own values by node, which for the pipeline itself is its id; a missing key means the default. */
  params: z.record(z.string(), z.record(z.string(), z.unknown())),
  draft: z.array(draftPromptSchema).check(z.minLength(1), z.maxLength(MAX_PROMPTS)),
  onAir: z.array(wirePromptSchema).check(z.minLength(1)),
  cue: z.boolean(),
  /** Null fields follow the pipeline's default. */
  transition: z.object({ steps: z.nullable(z.int()), method: z.nullable(methodSchema) }),
  /** How prompts of one moment mix; null follows the pipeline. */
  blend: z._default(z.nullable(methodSchema), null),
  /** The slots of the bank in use. */
  deck: z.array(deckSlotSchema).check(z.length(DECK_SLOTS)),
  bank: z._default(z.number().check(z.gte(0), z.lte(DECK_BANKS - 1)), 0),
  /** The slots of all banks that have been left; that in use is `deck`. */
  banks: z._default(z.array(z.array(deckSlotSchema).check(z.length(DECK_SLOTS))).check(z.maxLength(DECK_BANKS)), []),
  history: z.array(z.string()),
  blocks: z.array(blockSchema),
  markers: z._default(z.array(markerSchema), []),
  loop: z._default(z.nullable(loopSchema), null),
  tempo: z._default(tempoSchema, USUAL_TEMPO),
  modulations: z._default(modulationsSchema, {}),
  /** Top-level keys of an imported file that we do not know, given back when it is exported. */
  extra: z._default(z.record(z.string(), z.unknown()), {}),
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

export const emptyBank = (): DeckSlot[] => Array.from({ length: DECK_SLOTS }, () => null)

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
    blend: null,
    deck: emptyBank(),
    bank: 0,
    banks: [],
    history: [],
    blocks: [],
    markers: [],
    loop: null,
    tempo: USUAL_TEMPO,
    modulations: {},
    extra: {},
    source: { kind: 'file', deviceId: null, cameraHeight: null, mirror: false, fit: 'cover', clip: null },
  }
}
