import { type Mode, modeSchema, type Params } from '../../api/types'
import { z } from '../../api/zod'
import { processorNode } from '../chain'
import { type Input, inputOf, sourceWith } from '../clip'
import {
  type Block,
  DECK_BANKS,
  DECK_SLOTS,
  deckSlotSchema,
  type Loop,
  loopSchema,
  MAX_PROCESSORS,
  type Marker,
  type Method,
  markerSchema,
  methodSchema,
  newId,
  type ProjectDoc,
  type WirePrompt,
  wirePromptSchema,
} from '../model'
import { draftFrom, wirePrompts } from '../prompts'
import { blockNoteSchema, noteOf } from './entries'
import { isRecord, type Json, others } from './json'

/** What a timeline or a workflow says about a performance, and what of it our own key carries. */

export const OWN_KEY = 'x-scope'

/** The slots of the bank in use, and those of the others. */
type Deck = Pick<ProjectDoc, 'deck' | 'bank' | 'banks'>

export interface Score {
  name: string | null
  mode: Mode | null
  pipelineId: string | null
  /** Null where the file does not say. */
  before: readonly string[] | null
  after: readonly string[] | null
  /** Pipelines without a role, whose place only the catalogue can tell. */
  unplaced: readonly string[]
  control: boolean | null
  /** By node, as in the document. */
  params: Record<string, Params>
  /** The parameters are all that there are, instead of being added to the document's. */
  whole: boolean
  prompts: readonly WirePrompt[] | null
  transition: { steps: number | null; method: Method | null } | null
  /** Undefined where the file does not say. */
  blend: Method | null | undefined
  blocks: readonly Block[]
  dropped: number
  adjusted: number
  markers: readonly Marker[]
  loop: Loop | null
  deck: Deck | null
  input: Input | null
  extra: Json
}

const optional = <T>(schema: z.ZodMiniType<T>) => z.catch(z.optional(schema), undefined)

const bankSchema = z.array(deckSlotSchema).check(z.length(DECK_SLOTS))

/** Lenient: what is wrong in here is no reason to refuse the rest of the file. */
const ownSchema = z.looseObject({
  name: optional(z.string().check(z.maxLength(200))),
  mode: optional(modeSchema),
  before: optional(z.array(z.string()).check(z.maxLength(MAX_PROCESSORS))),
  after: optional(z.array(z.string()).check(z.maxLength(MAX_PROCESSORS))),
  control: optional(z.boolean()),
  params: optional(z.record(z.string(), z.record(z.string(), z.unknown()))),
  /** Values in the file that nobody chose: the pipeline's defaults when it was written. */
  defaults: optional(z.record(z.string(), z.unknown())),
  prompts: optional(z.array(wirePromptSchema).check(z.minLength(1), z.maxLength(4))),
  transition: optional(z.object({ steps: z.nullable(z.int()), method: z.nullable(methodSchema) })),
  blend: optional(methodSchema),
  blocks: optional(z.array(blockNoteSchema)),
  markers: optional(z.array(z.omit(markerSchema, { id: true }))),
  loop: optional(z.nullable(loopSchema)),
  deck: optional(bankSchema),
  bank: optional(z.number().check(z.gte(0), z.lte(DECK_BANKS - 1))),
  banks: optional(z.array(bankSchema).check(z.maxLength(DECK_BANKS))),
  input: optional(z.object({ name: z.string(), asset: z.string() })),
})
export type Own = z.infer<typeof ownSchema>
const OWN_KEYS = Object.keys(ownSchema.shape)

export function readOwn(value: unknown): Own | null {
  const parsed = ownSchema.safeParse(value)
  return parsed.success ? parsed.data : null
}

/** What our own key says for a score; the rest of the score comes from the format. */
export function fromOwn(own: Own | null) {
  return {
    name: own?.name ?? null,
    control: own?.control ?? null,
    blend: own ? (own.blend ?? null) : undefined,
    whole: own !== null,
    markers: (own?.markers ?? []).map((marker) => ({ ...marker, id: newId() })),
    loop: own?.loop ?? null,
    input: own?.input ?? null,
    deck: own?.deck ? { deck: own.deck, bank: own.bank ?? 0, banks: own.banks ?? [] } : null,
  }
}

/** Keys that we do not know, by the place where they were. */
export interface Kept {
  settings?: Json | undefined
  metadata?: Json | undefined
  pipelines?: Record<string, Json> | undefined
  loras?: Record<string, Json> | undefined
  own?: Json | undefined
}

/** What becomes `extra` of the document: unknown top-level keys, and under our own key those from further inside. */
export function extraFrom(top: Json | undefined, own: Own | null, kept: Kept): Json {
  const inside = { ...kept, own: own ? others(own, OWN_KEYS) : undefined }
  const filled = Object.entries(inside).filter(([, keys]) => keys !== undefined && Object.keys(keys).length > 0)
  return { ...top, ...(filled.length > 0 ? { [OWN_KEY]: Object.fromEntries(filled) } : {}) }
}

export function keptIn(doc: ProjectDoc): { top: Json; kept: Kept } {
  const { [OWN_KEY]: inside, ...top } = doc.extra
  return { top, kept: isRecord(inside) ? (inside as Kept) : {} }
}

/** The nodes that a document runs, pipeline last. */
export function nodesOf(doc: ProjectDoc): string[] {
  const processors = (['before', 'after'] as const).flatMap((side) =>
    doc.chain[side].map((id) => processorNode(side, id)),
  )
  return [...processors, ...(doc.pipelineId === null ? [] : [doc.pipelineId])]
}

/** What a written file needs besides the document. */
export interface WriteContext {
  /** ISO 8601. */
  now: string
  version: string
  /** Where the clock of the performance is, in milliseconds: it ends a live block. */
  nowMs: number
  /** By node: what is in force, the pipeline's defaults included. */
  effective: Readonly<Record<string, Params>>
  /** Where a pipeline comes from, for those that are not built in. */
  plugins: Readonly<Record<string, string>>
}

function hasSlots({ deck, bank, banks }: Deck): boolean {
  return bank !== 0 || [deck, ...banks].some((slots) => slots.some((slot) => slot !== null))
}

/**
 * Our own key of a file. `params` are those that the format has no place for; `defaults` those that it has, but nobody
 * chose.
 */
export function ownOf(doc: ProjectDoc, params: Record<string, Params>, defaults: Params): Json {
  const { kept } = keptIn(doc)
  const filled = Object.entries(params).filter(([, values]) => Object.keys(values).length > 0)
  const prompts = wirePrompts(doc.draft)
  const { before, after, control } = doc.chain
  return {
    ...(isRecord(kept.own) ? kept.own : {}),
    ...(doc.name === '' ? {} : { name: doc.name }),
    mode: doc.mode,
    ...(before.length > 0 ? { before } : {}),
    ...(after.length > 0 ? { after } : {}),
    ...(control ? { control } : {}),
    ...(filled.length > 0 ? { params: Object.fromEntries(filled) } : {}),
    ...(Object.keys(defaults).length > 0 ? { defaults } : {}),
    ...(prompts.length > 0 ? { prompts } : {}),
    ...(doc.transition.steps === null && doc.transition.method === null ? {} : { transition: doc.transition }),
    ...(doc.blend === null ? {} : { blend: doc.blend }),
    ...(doc.blocks.length > 0 ? { blocks: doc.blocks.map(noteOf) } : {}),
    ...(doc.markers.length > 0 ? { markers: doc.markers.map(({ atMs, label }) => ({ atMs, label })) } : {}),
    ...(doc.loop ? { loop: doc.loop } : {}),
    ...(inputOf(doc) ? { input: inputOf(doc) } : {}),
    ...(hasSlots(doc) ? { deck: doc.deck, bank: doc.bank, banks: doc.banks } : {}),
  }
}

export interface ApplyOptions {
  /** Take over pipeline, processors and parameters, not only the takes. */
  settings: boolean
}

/** The document with a score in place of what it says about the same things. Pure; one step of undo. */
export function applyScore(score: Score, { settings }: ApplyOptions) {
  return (doc: ProjectDoc): ProjectDoc => {
    const prompts = score.prompts ?? score.blocks[0]?.prompts ?? null
    // A file without takes, as a workflow may be, is no reason to lose those that are there.
    const { blocks, markers, loop } = score.blocks.length + score.markers.length > 0 ? score : { ...doc }
    const performance: ProjectDoc = {
      ...doc,
      name: doc.name || (score.name ?? ''),
      blocks: [...blocks],
      markers: [...markers],
      loop: loop ?? score.loop,
      ...score.deck,
      extra: score.extra,
      draft: prompts && prompts.length > 0 ? draftFrom(prompts) : doc.draft,
      transition: score.transition ?? doc.transition,
      blend: score.blend === undefined ? doc.blend : score.blend,
    }
    if (!settings) return performance
    const params = { ...doc.params }
    if (score.whole && score.pipelineId !== null) delete params[score.pipelineId]
    for (const [node, values] of Object.entries(score.params)) {
      params[node] = score.whole ? values : { ...params[node], ...values }
    }
    return {
      ...performance,
      mode: score.mode ?? doc.mode,
      source: sourceWith(doc.source, score.input),
      pipelineId: score.pipelineId ?? doc.pipelineId,
      chain: {
        before: score.before ? [...score.before] : doc.chain.before,
        after: score.after ? [...score.after] : doc.chain.after,
        control: score.control ?? doc.chain.control,
      },
      params,
    }
  }
}
