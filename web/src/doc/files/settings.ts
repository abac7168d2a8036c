import type { Params } from '../../api/types'
import { z } from '../../api/zod'
import { deepEqual } from '../equal'
import { isRecord, type Json, others } from './json'

/** Parameters of a pipeline as the two formats write them. */

const loraFileSchema = z.looseObject({
  path: z.optional(z.string()),
  filename: z.optional(z.string()),
  scale: z.optional(z.number()),
  weight: z.optional(z.number()),
  merge_mode: z.nullish(z.string()),
  mergeMode: z.nullish(z.string()),
})
export const loraFilesSchema = z.array(loraFileSchema).check(z.maxLength(100))
type LoraFile = z.infer<typeof loraFileSchema>
const LORA_KEYS = Object.keys(loraFileSchema.shape)

/** An adapter as the document, and the server, have it. */
const loraSchema = z.strictObject({
  path: z.string().check(z.minLength(1)),
  scale: z.number(),
  merge_mode: z.optional(z.string()),
})
export type Lora = z.infer<typeof loraSchema>
const lorasSchema = z.array(loraSchema).check(z.maxLength(100))

export function lorasIn(params: Params | undefined): Lora[] {
  const parsed = lorasSchema.safeParse(params?.loras)
  return parsed.success ? parsed.data : []
}

/** The last part of a path, on any system. */
export function fileName(path: string): string {
  return path.split(/[\\/]/).at(-1) ?? path
}

export function lorasFrom(files: readonly LoraFile[]): { loras: Lora[]; rest: Record<string, Json> } {
  const loras: Lora[] = []
  const rest: [string, Json][] = []
  for (const file of files) {
    const path = file.path ?? file.filename
    if (!path) continue
    const merge = file.merge_mode ?? file.mergeMode
    loras.push({ path, scale: file.scale ?? file.weight ?? 1, ...(merge ? { merge_mode: merge } : {}) })
    const unknown = others(file, LORA_KEYS)
    if (unknown) rest.push([fileName(path), unknown])
  }
  return { loras, rest: Object.fromEntries(rest) }
}

/** The timeline's names, the document's, and what a value has to be to go under them. */
const TIMELINE: readonly (readonly [string, string, z.ZodMiniType])[] = [
  ['seed', 'base_seed', z.number()],
  ['denoisingSteps', 'denoising_steps', z.array(z.number())],
  ['noiseScale', 'noise_scale', z.number()],
  ['noiseController', 'noise_controller', z.boolean()],
  ['manageCache', 'manage_cache', z.boolean()],
  ['quantization', 'quantization', z.nullable(z.string())],
  ['kvCacheAttentionBias', 'kv_cache_attention_bias', z.number()],
  ['loraMergeStrategy', 'lora_merge_mode', z.string()],
]
const sizeSchema = z.looseObject({ height: z.int().check(z.positive()), width: z.int().check(z.positive()) })

export const settingsSchema = z.looseObject({
  ...Object.fromEntries(TIMELINE.map(([key, , schema]) => [key, z.nullish(schema)])),
  pipelineId: z.nullish(z.string()),
  inputMode: z.catch(z.nullish(z.enum(['text', 'video'])), null),
  resolution: z.nullish(sizeSchema),
  loras: z.nullish(loraFilesSchema),
})
export type TimelineSettings = z.infer<typeof settingsSchema>
const SETTINGS_KEYS = Object.keys(settingsSchema.shape)

/** `quantization: null` means "none"; elsewhere null means that nobody chose. */
function chosen(key: string, value: unknown): boolean {
  return value !== undefined && (value !== null || key === 'quantization')
}

export function paramsFromSettings(settings: TimelineSettings) {
  const params: Params = {}
  for (const [key, own] of TIMELINE) if (chosen(key, settings[key])) params[own] = settings[key]
  if (settings.resolution)
    Object.assign(params, { height: settings.resolution.height, width: settings.resolution.width })
  const { loras, rest } = lorasFrom(settings.loras ?? [])
  if (loras.length > 0) params.loras = loras
  return { params, loraExtras: rest, extra: others(settings, SETTINGS_KEYS) }
}

export interface Written {
  /** For the file. */
  values: Json
  /** The user's own values that the format has no place for. */
  left: Params
  /** Values in the file that nobody chose, by the document's names. */
  defaults: Params
}

/** The parameters in force as the timeline's settings. */
export function settingsFrom(own: Params, effective: Params, loraExtras: Record<string, Json>): Written {
  const all: Params = { ...effective, ...own }
  const values: Json = {}
  const placed = new Set<string>()
  if (sizeSchema.safeParse(all).success) {
    values.resolution = { height: all.height, width: all.width }
    placed.add('height').add('width')
  }
  for (const [key, name, schema] of TIMELINE) {
    if (!(name in all) || !schema.safeParse(all[name]).success) continue
    values[key] = all[name]
    placed.add(name)
  }
  const loras = lorasIn(all)
  if (loras.length > 0) {
    values.loras = loras.map(({ path, scale, merge_mode }) => ({
      ...loraExtras[fileName(path)],
      path: fileName(path),
      scale,
      ...(merge_mode === undefined ? {} : { mergeMode: merge_mode }),
    }))
    placed.add('loras')
  }
  return { values, ...sorted(own, all, placed) }
}

function sorted(own: Params, all: Params, placed: ReadonlySet<string>) {
  const names = Object.keys(own)
  return {
    left: Object.fromEntries(names.filter((name) => !placed.has(name)).map((name) => [name, own[name]])),
    defaults: Object.fromEntries([...placed].filter((name) => !(name in own)).map((name) => [name, all[name]])),
  }
}

/** A workflow calls everything as the server does; one key is called otherwise while it runs. */
const STEPS = { file: 'denoising_step_list', own: 'denoising_steps' }
/** Told elsewhere in the file, or in the document. */
const NO_PARAMS = ['input_mode', 'loras', 'vace_enabled']

export function paramsFromWorkflow(file: Json): Params {
  const entries = Object.entries(file).filter(([key, value]) => !NO_PARAMS.includes(key) && chosen(key, value))
  return Object.fromEntries(entries.map(([key, value]) => [key === STEPS.file ? STEPS.own : key, value]))
}

export function workflowParams(own: Params, effective: Params): Written {
  const all: Params = { ...effective, ...own }
  const named = Object.entries(all).filter(
    ([key, value]) => !NO_PARAMS.includes(key) && key !== STEPS.file && chosen(key, value),
  )
  const placed = new Set(named.map(([key]) => key))
  if (lorasIn(all).length > 0) placed.add('loras')
  return {
    values: Object.fromEntries(named.map(([key, value]) => [key === STEPS.own ? STEPS.file : key, value])),
    ...sorted(own, all, placed),
  }
}

/** Takes out again what nobody had chosen when the file was written, as long as nobody has edited it since. */
export function withoutDefaults(params: Params, defaults: unknown): Params {
  if (!isRecord(defaults)) return params
  const mine = Object.entries(params).filter(([key, value]) => !(key in defaults && deepEqual(defaults[key], value)))
  return Object.fromEntries(mine)
}
