import type { JsonProp, Mode, Params, ParamValue, Pipeline } from '../api/types'
import { MAX_DIMENSION, type SizeRule } from './resolution'

export type SectionId = 'quality' | 'motion' | 'look' | 'memory' | 'general'
export type Widget =
  | 'resolution'
  | 'switch'
  | 'slider'
  | 'number'
  | 'text'
  | 'segmented'
  | 'select'
  | 'steps'
  | 'tags'
  | 'asset'
  | 'json'

export interface Field {
  key: string
  label: string
  description: string
  section: SectionId
  widget: Widget
  /** A load parameter: a change takes effect when the pipeline is loaded again. */
  reload: boolean
  integer: boolean
  nullable: boolean
  default: ParamValue
  min?: number | undefined
  max?: number | undefined
  step: number
  unit: string
  options: { value: string | number | boolean | null; label: string }[]
  advanced: boolean
  /** For `resolution`: the key of the second dimension and the rule both obey. */
  size?: { heightKey: string; rule: SizeRule } | undefined
  /** For `asset`: what may be picked, and whether the parameter is a list of paths. */
  asset?: { kind: 'image' | 'audio' | 'video'; list: boolean } | undefined
}

export interface Section {
  id: SectionId
  fields: Field[]
}

const SECTION_ORDER: readonly SectionId[] = ['quality', 'look', 'motion', 'memory', 'general']
const SECTION_BY_KEY: Readonly<Record<string, SectionId>> = {
  width: 'quality',
  height: 'quality',
  denoising_steps: 'quality',
  base_seed: 'look',
  vae_type: 'quality',
  noise_scale: 'motion',
  noise_controller: 'motion',
  manage_cache: 'memory',
  kv_cache_attention_bias: 'memory',
  quantization: 'memory',
}
/** Adapter settings act only on adapters, which this page does not add yet. */
const NEEDS_LIBRARY = 'lora'
/** These act only where something guides the shapes. */
const NEEDS_CONTROL = 'vace'
/** Schema keys of load parameters that have a runtime parameter as well, and therefore need no reload. */
const RUNTIME_ALIAS: Readonly<Record<string, string>> = {
  denoising_steps: 'denoising_step_list',
  vace_context_scale: 'vace_context_scale',
}

/** The name under which a live value of `key` goes over the wire. */
export function wireKey(key: string): string {
  return RUNTIME_ALIAS[key] ?? key
}

/** The schema key behind a wire name. */
export function schemaKey(wire: string): string {
  return Object.entries(RUNTIME_ALIAS).find(([, name]) => name === wire)?.[0] ?? wire
}

function humanise(key: string): string {
  const words = key.replaceAll('_', ' ').trim()
  return words.charAt(0).toUpperCase() + words.slice(1)
}

interface Resolved extends JsonProp {
  nullable: boolean
}

/** Follows `$ref` and strips the `null` branch of `anyOf`, keeping the outer default, title and `ui`. */
function resolve(prop: JsonProp, defs: Record<string, JsonProp>, depth = 0): Resolved {
  if (depth > 8) return { ...prop, nullable: false }
  let merged: JsonProp = prop
  let nullable = false
  if (prop.anyOf) {
    const real = prop.anyOf.filter((branch) => branch.type !== 'null')
    nullable = real.length < prop.anyOf.length
    const [only] = real
    if (only && real.length === 1) {
      const inner = resolve(only, defs, depth + 1)
      merged = { ...inner, ...prop, anyOf: undefined }
      nullable ||= inner.nullable
    }
  }
  if (merged.$ref) {
    const target = defs[merged.$ref.split('/').at(-1) ?? '']
    if (target) {
      const inner = resolve(target, defs, depth + 1)
      const title = prop.title ?? undefined
      merged = { ...inner, ...merged, $ref: undefined, title }
      nullable ||= inner.nullable
    }
  }
  return { ...merged, nullable }
}

/** A hundredth of the range, rounded to 1, 2 or 5 times a power of ten. */
export function niceStep(min: number, max: number): number {
  const raw = (max - min) / 100
  if (!(raw > 0)) return 1
  const power = 10 ** Math.floor(Math.log10(raw))
  const unit = raw / power
  const rounded = unit < 1.5 ? 1 : unit < 3.5 ? 2 : unit < 7.5 ? 5 : 10
  return Number((rounded * power).toPrecision(12))
}

function widgetFor(prop: Resolved): Widget {
  const component = prop.ui?.component
  if (component === 'image' || component === 'audio' || component === 'video') return 'asset'
  if (prop.enum) return prop.enum.length + (prop.nullable ? 1 : 0) <= 4 ? 'segmented' : 'select'
  switch (prop.type) {
    case 'boolean':
      return 'switch'
    case 'integer':
    case 'number':
      return prop.minimum !== undefined && prop.maximum !== undefined ? 'slider' : 'number'
    case 'string':
      return 'text'
    case 'array': {
      const item = prop.items?.type
      if (item === 'integer' || item === 'number') return 'steps'
      if (item === 'string') return 'tags'
      return 'json'
    }
    default:
      return 'json'
  }
}

function sectionFor(key: string, prop: Resolved): SectionId {
  const declared = prop.ui?.section
  const known = SECTION_ORDER.find((id) => id === declared)
  if (known) return known
  if (prop.ui?.component === 'resolution') return 'quality'
  if (prop.ui?.category === 'input') return 'look'
  return SECTION_BY_KEY[key] ?? 'general'
}

/** The value a field has before anyone changed it: the mode's own default, else the schema's. */
export function defaultOf(pipeline: Pipeline, mode: Mode, key: string): ParamValue {
  const forMode = pipeline.mode_defaults?.[mode]
  if (forMode && key in forMode) return forMode[key]
  return pipeline.config_schema.properties[key]?.default ?? null
}

function sizeRule(pipeline: Pipeline, prop: JsonProp | undefined): SizeRule {
  const multipleOf = Math.max(1, prop?.ui?.multiple_of ?? prop?.multipleOf ?? pipeline.min_dimension)
  return {
    multipleOf,
    min: Math.max(prop?.minimum ?? 1, multipleOf, 16),
    max: Math.min(prop?.maximum ?? MAX_DIMENSION, MAX_DIMENSION),
  }
}

function planField(pipeline: Pipeline, mode: Mode, key: string, prop: Resolved): Field {
  const integer = prop.type === 'integer' || prop.items?.type === 'integer'
  const bounds = prop.items && prop.type === 'array' ? prop.items : prop
  const min = bounds.minimum ?? (key === 'denoising_steps' ? 0 : undefined)
  const max = bounds.maximum ?? (key === 'denoising_steps' ? 1000 : undefined)
  const range = min !== undefined && max !== undefined ? niceStep(min, max) : integer ? 1 : 0.01
  const step = prop.ui?.step ?? prop.multipleOf ?? (integer ? Math.max(1, Math.round(range)) : range)
  const component = prop.ui?.component
  const options = (prop.enum ?? []).map((value) => ({ value: value as string, label: humanise(String(value)) }))
  const widget = widgetFor(prop)
  return {
    key,
    label: prop.ui?.label || prop.title || humanise(key),
    description: prop.description ?? '',
    section: sectionFor(key, prop),
    widget,
    reload: RUNTIME_ALIAS[key] ? false : prop.ui?.is_load_param !== false,
    integer,
    nullable: prop.nullable,
    default: defaultOf(pipeline, mode, key),
    min,
    max,
    step,
    unit: prop.ui?.unit ?? '',
    options: prop.nullable && options.length > 0 ? [{ value: null, label: 'None' }, ...options] : options,
    advanced: prop.ui?.advanced === true,
    asset:
      widget === 'asset' ? { kind: component as 'image' | 'audio' | 'video', list: prop.type === 'array' } : undefined,
  }
}

function planResolution(pipeline: Pipeline, mode: Mode): Field | null {
  const { width, height } = pipeline.config_schema.properties
  if (!width || !height) return null
  const declared = width.ui ?? height.ui
  if (declared?.modes && !declared.modes.includes(mode)) return null
  return {
    key: 'width',
    label: 'Size',
    description: width.description ?? '',
    section: 'quality',
    widget: 'resolution',
    reload: declared?.is_load_param !== false,
    integer: true,
    nullable: false,
    default: defaultOf(pipeline, mode, 'width'),
    step: 1,
    unit: 'px',
    options: [],
    advanced: false,
    size: { heightKey: 'height', rule: sizeRule(pipeline, width.ui ? width : height) },
  }
}

/** How a pipeline is used. */
export interface Use {
  /** The input guides the shapes. */
  control?: boolean
  /** It works on pictures of others, whose size is theirs unless it declares one. */
  processor?: boolean
}

/** What the inspector shows for a pipeline in a mode: pure, and complete for schemas it has never seen. */
export function planFields(pipeline: Pipeline, mode: Mode, { control, processor }: Use = {}): Section[] {
  const defs = pipeline.config_schema.$defs ?? {}
  const entries = Object.entries(pipeline.config_schema.properties)
    .filter(([, prop]) => prop.ui && (!prop.ui.modes || prop.ui.modes.includes(mode)))
    .filter(([, prop]) => prop.ui?.component !== NEEDS_LIBRARY && (control || prop.ui?.component !== NEEDS_CONTROL))
    .filter(([key]) => key !== 'width' && key !== 'height')
    .sort(([keyA, a], [keyB, b]) => (a.ui?.order ?? 999) - (b.ui?.order ?? 999) || (keyA < keyB ? -1 : 1))
  const fields = entries.map(([key, prop]) => planField(pipeline, mode, key, resolve(prop, defs)))
  const { width, height } = pipeline.config_schema.properties
  const resolution = processor && !width?.ui && !height?.ui ? null : planResolution(pipeline, mode)
  if (resolution) fields.unshift(resolution)
  return SECTION_ORDER.map((id) => ({ id, fields: fields.filter((field) => field.section === id) })).filter(
    (section) => section.fields.length > 0,
  )
}

export function allFields(pipeline: Pipeline, mode: Mode, use?: Use): Field[] {
  return planFields(pipeline, mode, use).flatMap((section) => section.fields)
}

/** A field's value: the user's own, else the default. */
export function effectiveValue(pipeline: Pipeline, mode: Mode, own: Params, key: string): ParamValue {
  return key in own ? own[key] : defaultOf(pipeline, mode, key)
}

export interface ResolvedParams {
  load: Params
  live: Params
}

/** Splits the effective values into what a load needs and what the running stream needs. Nulls stay out. */
export function resolveParams(pipeline: Pipeline, mode: Mode, own: Params, use?: Use): ResolvedParams {
  const result: ResolvedParams = { load: {}, live: {} }
  const put = (field: Field, key: string) => {
    const value = effectiveValue(pipeline, mode, own, key)
    if (value === null || value === undefined) return
    if (field.reload) result.load[key] = value
    else result.live[wireKey(key)] = value
  }
  for (const field of allFields(pipeline, mode, use)) {
    put(field, field.key)
    if (field.size) put(field, field.size.heightKey)
  }
  return result
}
