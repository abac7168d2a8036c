import type { AssetKind, JsonProp, Mode, Params, ParamValue, Pipeline } from '../api/types'
import { adaptersOf, scalesOf } from './loras'
import { MAX_DIMENSION, type SizeRule } from './resolution'

export type SectionId = 'quality' | 'motion' | 'look' | 'guide' | 'memory' | 'general'
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
  | 'loras'
  | 'group'
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
  asset?: { kind: AssetKind; list: boolean } | undefined
  /** For `loras`: the key that says how adapters are merged that do not say it themselves. */
  strategyKey?: string | undefined
  /** For `group`: the fields of the object. */
  children?: Field[] | undefined
  /** Values of other parameters without which this one means nothing. */
  dependsOn?: Params | undefined
  /** Acts on the next chunk only: it can be sent again. */
  once?: boolean | undefined
  /** For `steps`: each is smaller than the one before. */
  descending?: boolean | undefined
  /** For lists: how many values they take. */
  items?: { min: number; max: number } | undefined
  /** Values worth a button. */
  presets?: ParamValue[] | undefined
}

/** The keys of all values that a field edits. */
export function keysOf(field: Field): string[] {
  return [field.key, ...(field.size ? [field.size.heightKey] : []), ...(field.strategyKey ? [field.strategyKey] : [])]
}

export interface Section {
  id: SectionId
  fields: Field[]
}

const SECTION_ORDER: readonly SectionId[] = ['quality', 'look', 'guide', 'motion', 'memory', 'general']
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
/** Settings of adapters belong to the one field that all adapters share. */
const OF_ADAPTERS = 'lora'
/** Settings of pictures and videos that guide shapes. */
const OF_CONTROL = 'vace'
const LORAS = 'loras'
const STEPS = 'denoising_steps'
/** The longest list that is edited by hand. */
const MAX_ITEMS = 32
const STRATEGY = 'lora_merge_strategy'
/** Pictures that pipelines with control blocks take besides a control video. */
const REFERENCES = [
  {
    key: 'vace_ref_images',
    label: 'Reference images',
    list: true,
    description: 'What or who should be in the picture.',
  },
  {
    key: 'first_frame_image',
    label: 'First frame',
    list: false,
    description: 'The next chunk begins with this picture.',
  },
  { key: 'last_frame_image', label: 'Last frame', list: false, description: 'The next chunk ends with this picture.' },
] as const
export const REFERENCE_KEYS: readonly string[] = REFERENCES.map(({ key }) => key)
/** How deep objects inside of objects are shown. */
const MAX_DEPTH = 3
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

/** The widgets that a schema may ask for by name, where the type allows them. */
function namedWidget(prop: Resolved): Widget | null {
  const component = prop.ui?.component
  const bounded = prop.minimum !== undefined && prop.maximum !== undefined
  const numeric = prop.type === 'integer' || prop.type === 'number'
  switch (component) {
    case 'image':
    case 'audio':
    case 'video':
      return 'asset'
    case 'segmented':
    case 'select':
      return prop.enum ? component : null
    case 'slider':
      return numeric && bounded ? 'slider' : null
    case 'number':
      return numeric ? 'number' : null
    case 'text':
      return prop.type === 'string' ? 'text' : null
    case 'json':
      return 'json'
    default:
      return null
  }
}

function widgetFor(prop: Resolved): Widget {
  const named = namedWidget(prop)
  if (named) return named
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
    case 'object':
      return prop.properties && Object.keys(prop.properties).length > 0 ? 'group' : 'json'
    default:
      return 'json'
  }
}

function sectionFor(key: string, prop: Resolved): SectionId {
  if (prop.ui?.component === OF_CONTROL) return 'guide'
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

const byOrder = ([keyA, a]: [string, JsonProp], [keyB, b]: [string, JsonProp]) =>
  (a.ui?.order ?? 999) - (b.ui?.order ?? 999) || (keyA < keyB ? -1 : 1)

interface Place {
  defs: Record<string, JsonProp>
  default: ParamValue
  depth: number
}

/** The fields of an object. They take effect with the object that they are in. */
function childFields(prop: Resolved, { defs, default: whole, depth }: Place): Field[] {
  const values = (typeof whole === 'object' && whole !== null ? whole : {}) as Params
  return Object.entries(prop.properties ?? {})
    .sort(byOrder)
    .map(([key, child]) => {
      const ui = { ...child.ui, is_load_param: prop.ui?.is_load_param ?? true }
      const value = key in values ? values[key] : (child.default ?? null)
      return planField(key, resolve({ ...child, ui }, defs), { defs, default: value, depth: depth + 1 })
    })
}

function planField(key: string, prop: Resolved, place: Place): Field {
  const integer = prop.type === 'integer' || prop.items?.type === 'integer'
  const bounds = prop.items && prop.type === 'array' ? prop.items : prop
  const min = bounds.minimum ?? (key === STEPS ? 0 : undefined)
  const max = bounds.maximum ?? (key === STEPS ? 1000 : undefined)
  const range = min !== undefined && max !== undefined ? niceStep(min, max) : integer ? 1 : 0.01
  const step = prop.ui?.step ?? prop.multipleOf ?? (integer ? Math.max(1, Math.round(range)) : range)
  const component = prop.ui?.component
  const options = (prop.enum ?? []).map((value) => ({ value: value as string, label: humanise(String(value)) }))
  const wanted = widgetFor(prop)
  const widget = wanted === 'group' && place.depth >= MAX_DEPTH ? 'json' : wanted
  return {
    key,
    label: prop.ui?.label || prop.title || humanise(key),
    description: prop.description ?? '',
    section: sectionFor(key, prop),
    widget,
    reload: RUNTIME_ALIAS[key] ? false : prop.ui?.is_load_param !== false,
    integer,
    nullable: prop.nullable,
    default: place.default,
    min,
    max,
    step,
    unit: prop.ui?.unit ?? '',
    options: prop.nullable && options.length > 0 ? [{ value: null, label: 'None' }, ...options] : options,
    advanced: prop.ui?.advanced === true,
    asset: widget === 'asset' ? { kind: component as AssetKind, list: prop.type === 'array' } : undefined,
    children: widget === 'group' ? childFields(prop, place) : undefined,
    dependsOn: prop.ui?.depends_on ?? undefined,
    descending: key === STEPS || component === STEPS,
    items: prop.type === 'array' ? { min: prop.minItems ?? 0, max: prop.maxItems ?? MAX_ITEMS } : undefined,
    presets: prop.ui?.presets ?? undefined,
  }
}

const plain = { integer: false, nullable: false, step: 1, unit: '', options: [], advanced: false } as const

/** The one field of all adapters. */
function planAdapters(pipeline: Pipeline): Field {
  const description = pipeline.config_schema.properties[STRATEGY]?.description ?? ''
  return {
    ...plain,
    options: [],
    key: LORAS,
    label: 'LoRA adapters',
    description,
    section: 'look',
    widget: 'loras',
    reload: true,
    default: [],
    strategyKey: STRATEGY,
  }
}

function planReferences(): Field[] {
  return REFERENCES.map(({ key, label, list, description }) => ({
    ...plain,
    options: [],
    key,
    label,
    description,
    section: 'guide',
    widget: 'asset',
    reload: false,
    default: list ? [] : null,
    nullable: !list,
    asset: { kind: 'image', list },
    once: true,
  }))
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
  /** It works on pictures of others, whose size is theirs unless it declares one. */
  processor?: boolean
}

/** What the inspector shows for a pipeline in a mode: pure, and complete for schemas it has never seen. */
export function planFields(pipeline: Pipeline, mode: Mode, { processor }: Use = {}): Section[] {
  const { $defs: defs = {}, properties } = pipeline.config_schema
  const entries = Object.entries(properties)
    .filter(([, prop]) => prop.ui && (!prop.ui.modes || prop.ui.modes.includes(mode)))
    .filter(([, prop]) => prop.ui?.component !== OF_ADAPTERS)
    .filter(([key]) => key !== 'width' && key !== 'height')
    .sort(byOrder)
  const fields = entries.map(([key, prop]) =>
    planField(key, resolve(prop, defs), { defs, default: defaultOf(pipeline, mode, key), depth: 0 }),
  )
  const { width, height } = properties
  const resolution = processor && !width?.ui && !height?.ui ? null : planResolution(pipeline, mode)
  if (resolution) fields.unshift(resolution)
  if (pipeline.supports_vace) fields.unshift(...planReferences())
  if (pipeline.supports_lora) fields.push(planAdapters(pipeline))
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

/** Whether what a field depends on is so. */
export function applies(field: Field, value: (key: string) => ParamValue): boolean {
  return Object.entries(field.dependsOn ?? {}).every(([key, wanted]) => {
    const has = value(key)
    return Array.isArray(wanted) ? wanted.includes(has) : has === wanted
  })
}

export interface ResolvedParams {
  load: Params
  live: Params
}

/** What a live field says to a running stream; undefined for nothing. */
export function liveValue(field: Field, value: ParamValue): ParamValue | undefined {
  if (value !== null && value !== undefined) return value
  // There is no other way to take a picture back than to name none.
  if (field.asset?.list) return []
  return field.asset && !field.once ? '' : undefined
}

/** Splits the effective values into what a load needs and what the running stream needs. Nulls stay out. */
export function resolveParams(pipeline: Pipeline, mode: Mode, own: Params, use?: Use): ResolvedParams {
  const result: ResolvedParams = { load: {}, live: {} }
  const put = (field: Field, key: string) => {
    const value = effectiveValue(pipeline, mode, own, key)
    if (value === null || value === undefined) return
    if (field.once && Array.isArray(value) && value.length === 0) return
    if (field.reload) result.load[key] = value
    else result.live[wireKey(key)] = value
  }
  for (const field of allFields(pipeline, mode, use)) {
    if (field.strategyKey) {
      const strategy = effectiveValue(pipeline, mode, own, field.strategyKey)
      const adapters = adaptersOf(own[field.key], strategy)
      const scales = scalesOf(adapters)
      if (adapters.length > 0) result.load[field.key] = adapters
      if (scales.length > 0) result.live.lora_scales = scales
      continue
    }
    put(field, field.key)
    if (field.size) put(field, field.size.heightKey)
  }
  return result
}
