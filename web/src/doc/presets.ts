import type { Mode, Params, Pipeline } from '../api/types'
import { z } from '../api/zod'
import { effectiveValue, keysOf, type Section } from '../schema/plan'
import { newId, type ProjectDoc } from './model'

/** Sets of parameters under a name, and their changes. Pure. */

export const MAX_PRESETS = 200
export const MAX_PRESET_NAME = 60
const FORMAT = 'scope-presets'

const nameSchema = z
  .pipe(
    z.string(),
    z.transform((name) => name.trim().slice(0, MAX_PRESET_NAME)),
  )
  .check(z.refine((name) => name !== ''))
const contentSchema = z.object({
  name: nameSchema,
  pipelineId: z.string().check(z.minLength(1)),
  params: z.record(z.string(), z.unknown()),
})
export const presetSchema = z.extend(contentSchema, { id: z.string(), savedAt: z.number() })
export type Preset = z.infer<typeof presetSchema>
const fileSchema = z.looseObject({
  format: z.literal(FORMAT),
  presets: z.array(contentSchema).check(z.minLength(1), z.maxLength(MAX_PRESETS)),
})

/** Every value of a pipeline, whether somebody has set it or not, so that a preset means the same tomorrow. */
export function presentValues(sections: readonly Section[], pipeline: Pipeline, mode: Mode, own: Params): Params {
  const keys = sections.flatMap(({ fields }) => fields.flatMap(keysOf))
  return Object.fromEntries(
    keys.flatMap((key) => {
      const value = effectiveValue(pipeline, mode, own, key)
      return value === null || value === undefined ? [] : [[key, value]]
    }),
  )
}

export function makePreset(name: string, pipelineId: string, params: Params, now: number): Preset | null {
  const parsed = presetSchema.safeParse({ id: newId(), name, pipelineId, params, savedAt: now })
  return parsed.success ? parsed.data : null
}

type Change = (presets: readonly Preset[]) => Preset[]

/** Adds presets; a name that its pipeline has already gets a number. */
export const addPresets =
  (added: readonly Preset[]): Change =>
  (presets) => {
    const all = [...presets]
    for (const preset of added) {
      if (all.length >= MAX_PRESETS) break
      all.push({ ...preset, name: freeName(all, preset) })
    }
    return all
  }

function freeName(presets: readonly Preset[], { id, name, pipelineId }: Preset): string {
  const taken = new Set(presets.filter((it) => it.pipelineId === pipelineId && it.id !== id).map((it) => it.name))
  if (!taken.has(name)) return name
  for (let n = 2; ; n++) {
    const tail = ` ${n}`
    const candidate = name.slice(0, MAX_PRESET_NAME - tail.length) + tail
    if (!taken.has(candidate)) return candidate
  }
}

export const renamePreset =
  (id: string, wanted: string): Change =>
  (presets) => {
    const parsed = nameSchema.safeParse(wanted)
    if (!parsed.success) return [...presets]
    return presets.map((preset) =>
      preset.id === id ? { ...preset, name: freeName(presets, { ...preset, name: parsed.data }) } : preset,
    )
  }

export const updatePreset =
  (id: string, params: Params, now: number): Change =>
  (presets) =>
    presets.map((preset) => (preset.id === id ? { ...preset, params, savedAt: now } : preset))

export const removePreset =
  (id: string): Change =>
  (presets) =>
    presets.filter((preset) => preset.id !== id)

/** Puts a preset's pipeline and values into the document. */
export const applyPreset =
  ({ pipelineId, params }: Preset) =>
  (doc: ProjectDoc): ProjectDoc => ({ ...doc, pipelineId, params: { ...doc.params, [pipelineId]: { ...params } } })

export function presetFile(presets: readonly Preset[]): string {
  const content = presets.map(({ name, pipelineId, params }) => ({ name, pipelineId, params }))
  return `${JSON.stringify({ format: FORMAT, version: 1, presets: content }, null, 2)}\n`
}

/** The presets of a file; null when it is none. */
export function readPresets(text: string, now: number): Preset[] | null {
  try {
    const parsed = fileSchema.safeParse(JSON.parse(text))
    if (!parsed.success) return null
    return parsed.data.presets.map((content) => ({ ...content, id: newId(), savedAt: now }))
  } catch {
    return null
  }
}
