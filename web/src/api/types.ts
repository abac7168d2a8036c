import { z } from './zod'

export const modeSchema = z.enum(['text', 'video'])
export type Mode = z.infer<typeof modeSchema>

export type ParamValue = unknown
export type Params = Record<string, ParamValue>

export const propUiSchema = z.looseObject({
  category: z.optional(z.string()),
  is_load_param: z.optional(z.boolean()),
  order: z.nullish(z.number()),
  component: z.nullish(z.string()),
  modes: z.nullish(z.array(z.string())),
  label: z.nullish(z.string()),
  section: z.nullish(z.string()),
  unit: z.nullish(z.string()),
  step: z.nullish(z.number()),
  presets: z.nullish(z.array(z.unknown())),
  advanced: z.nullish(z.boolean()),
  multiple_of: z.nullish(z.number()),
  depends_on: z.catch(z.nullish(z.record(z.string(), z.unknown())), null),
})

export interface JsonProp {
  type?: string | undefined
  title?: string | undefined
  description?: string | undefined
  default?: unknown
  minimum?: number | undefined
  maximum?: number | undefined
  multipleOf?: number | undefined
  minItems?: number | undefined
  maxItems?: number | undefined
  enum?: unknown[] | undefined
  items?: JsonProp | undefined
  properties?: Record<string, JsonProp> | undefined
  anyOf?: JsonProp[] | undefined
  $ref?: string | undefined
  ui?: z.infer<typeof propUiSchema> | undefined
}

export const propSchema: z.ZodMiniType<JsonProp> = z.lazy(() =>
  z.looseObject({
    type: z.optional(z.string()),
    title: z.optional(z.string()),
    description: z.optional(z.string()),
    default: z.optional(z.unknown()),
    minimum: z.optional(z.number()),
    maximum: z.optional(z.number()),
    multipleOf: z.optional(z.number()),
    minItems: z.optional(z.number()),
    maxItems: z.optional(z.number()),
    enum: z.optional(z.array(z.unknown())),
    items: z.optional(propSchema),
    properties: z.optional(z.record(z.string(), propSchema)),
    anyOf: z.optional(z.array(propSchema)),
    $ref: z.optional(z.string()),
    ui: z.optional(propUiSchema),
  }),
)

export const pipelineSchema = z.looseObject({
  id: z.string(),
  name: z.catch(z.string(), ''),
  description: z.catch(z.nullish(z.string()), null),
  supported_modes: z.catch(z.array(modeSchema), ['video']),
  default_mode: z.catch(modeSchema, 'video'),
  supports_prompts: z.catch(z.boolean(), true),
  supports_vace: z.catch(z.boolean(), false),
  supports_lora: z.catch(z.boolean(), false),
  default_temporal_interpolation_method: z.catch(z.nullish(z.enum(['linear', 'slerp'])), null),
  default_temporal_interpolation_steps: z.catch(z.nullish(z.number()), null),
  default_spatial_interpolation_method: z.catch(z.nullish(z.enum(['linear', 'slerp'])), null),
  estimated_vram_gb: z.catch(z.nullish(z.number()), null),
  requires_models: z.catch(z.boolean(), false),
  supports_cache_management: z.catch(z.boolean(), false),
  min_dimension: z.catch(z.number(), 1),
  usage: z.catch(z.array(z.string()), []),
  inputs: z.catch(z.array(z.string()), ['video']),
  config_schema: z.catch(
    z.looseObject({
      $defs: z.optional(z.record(z.string(), propSchema)),
      properties: z.catch(z.record(z.string(), propSchema), {}),
    }),
    { properties: {} },
  ),
  mode_defaults: z.catch(z.nullish(z.record(z.string(), z.record(z.string(), z.unknown()))), null),
  plugin_name: z.catch(z.nullish(z.string()), null),
  example_prompts: z.catch(z.nullish(z.array(z.string())), null),
  default_prompt: z.catch(z.nullish(z.string()), null),
})
export type Pipeline = z.infer<typeof pipelineSchema>

export const statusSchema = z.looseObject({
  status: z.enum(['not_loaded', 'loading', 'loaded', 'error']),
  pipeline_id: z.nullish(z.string()),
  load_params: z.nullish(z.record(z.string(), z.unknown())),
  /** Everything that is loaded; the fields above name only the first. */
  pipelines: z.nullish(z.array(z.looseObject({ node_id: z.string(), pipeline_id: z.string() }))),
  error: z.nullish(z.string()),
  error_code: z.nullish(z.string()),
  loading_stage: z.nullish(z.string()),
})
export type PipelineStatus = z.infer<typeof statusSchema>

export const healthSchema = z.looseObject({
  server_start_time: z.number(),
  version: z.catch(z.string(), ''),
  git_commit: z.catch(z.nullish(z.string()), null),
})
export type Health = z.infer<typeof healthSchema>

export const answerSchema = z.looseObject({
  sdp: z.string(),
  type: z.enum(['answer', 'offer', 'pranswer', 'rollback']),
  sessionId: z.string(),
})
export type Answer = z.infer<typeof answerSchema>

export const assetKindSchema = z.enum(['image', 'video', 'audio'])
export type AssetKind = z.infer<typeof assetKindSchema>

/** An uploaded file. */
export const assetSchema = z.looseObject({
  name: z.string(),
  path: z.string(),
  size_mb: z.catch(z.number(), 0),
  folder: z.catch(z.nullish(z.string()), null),
  type: z.catch(assetKindSchema, 'image'),
  /** Seconds since 1970. */
  created_at: z.catch(z.number(), 0),
})
export type Asset = z.infer<typeof assetSchema>

/** Where a LoRA adapter came from. */
export const provenanceSchema = z.looseObject({
  source: z.catch(z.string(), 'local'),
  repo_id: z.nullish(z.string()),
  hf_filename: z.nullish(z.string()),
  model_id: z.nullish(z.string()),
  version_id: z.nullish(z.string()),
  url: z.nullish(z.string()),
})
export type Provenance = z.infer<typeof provenanceSchema>

/** A LoRA adapter on the server's disk. */
export const loraSchema = z.looseObject({
  name: z.string(),
  path: z.string(),
  size_mb: z.catch(z.number(), 0),
  folder: z.catch(z.nullish(z.string()), null),
  sha256: z.catch(z.nullish(z.string()), null),
  provenance: z.catch(z.nullish(provenanceSchema), null),
  read_only: z.catch(z.boolean(), false),
  trigger_words: z.catch(z.array(z.string()), []),
  licence: z.catch(z.nullish(z.string()), null),
})
export type Lora = z.infer<typeof loraSchema>

/** Pushed while an adapter is being installed. */
export const loraProgressSchema = z.looseObject({
  filename: z.string(),
  downloaded_bytes: z.number(),
  total_bytes: z.catch(z.nullish(z.number()), null),
})
export type LoraProgress = z.infer<typeof loraProgressSchema>

/** Whether the server exchanges pictures with other programs in some way. */
const availabilitySchema = z.looseObject({
  available: z.boolean(),
  reason: z.catch(z.nullish(z.string()), null),
  install_hint: z.catch(z.nullish(z.string()), null),
})
export const VIDEO_ROUTES = ['spout', 'ndi', 'syphon'] as const
const NOT_THERE = { available: false, reason: null, install_hint: null }
export const hardwareSchema = z.looseObject({
  spout: z.catch(availabilitySchema, NOT_THERE),
  ndi: z.catch(availabilitySchema, NOT_THERE),
  syphon: z.catch(availabilitySchema, NOT_THERE),
})
export type Hardware = z.infer<typeof hardwareSchema>

export const logTailSchema = z.looseObject({ lines: z.array(z.string()), offset: z.number() })

/** A download that goes on or has failed. */
export const downloadSchema = z.looseObject({
  is_downloading: z.catch(z.boolean(), false),
  state: z.nullish(z.string()),
  percentage: z.nullish(z.number()),
  current_artifact: z.nullish(z.string()),
  error: z.nullish(z.string()),
  error_code: z.nullish(z.string()),
  downloaded_bytes: z.nullish(z.number()),
  total_bytes: z.nullish(z.number()),
  bytes_per_second: z.nullish(z.number()),
  eta_seconds: z.nullish(z.number()),
  waiting_for: z.nullish(z.string()),
})
export type Download = z.infer<typeof downloadSchema>

export const fileStateSchema = z.enum(['missing', 'partial', 'damaged', 'complete'])
export type FileState = z.infer<typeof fileStateSchema>

export const modelFileSchema = z.looseObject({
  path: z.string(),
  repository: z.catch(z.string(), ''),
  role: z.catch(z.string(), ''),
  state: fileStateSchema,
  verified: z.catch(z.boolean(), false),
  bytes: z.catch(z.number(), 0),
  size: z.nullish(z.number()),
  problem: z.nullish(z.string()),
  /** Which settings have a use for it; empty for all. */
  when: z.catch(
    z.looseObject({
      vae_type: z.optional(z.string()),
      vace: z.optional(z.boolean()),
      model_size: z.optional(z.string()),
    }),
    {},
  ),
})
export type ModelFile = z.infer<typeof modelFileSchema>

/** The files of one pipeline. */
export const modelSchema = z.looseObject({
  pipeline_id: z.string(),
  name: z.catch(z.string(), ''),
  sizes_are_exact: z.catch(z.boolean(), false),
  progress: z.nullish(downloadSchema),
  files: z.catch(z.array(modelFileSchema), []),
  repositories: z.catch(
    z.array(z.looseObject({ id: z.string(), licence: z.nullish(z.string()), page: z.string() })),
    [],
  ),
})
export type Model = z.infer<typeof modelSchema>

export const modelListSchema = z.looseObject({
  models: z.array(modelSchema),
  /** What the disk has room for; null when nobody knows. */
  room_bytes: z.nullish(z.number()),
})
export type ModelList = z.infer<typeof modelListSchema>

/** Pushed while a download goes on, and when it ends. */
export const downloadEventSchema = z.looseObject({
  pipeline_id: z.string(),
  state: z.string(),
  progress: z.nullish(downloadSchema),
})
export type DownloadEvent = z.infer<typeof downloadEventSchema>

export const verificationSchema = z.looseObject({
  path: z.string(),
  outcome: z.string(),
  problem: z.nullish(z.string()),
})
export type Verification = z.infer<typeof verificationSchema>

const nullableNumber = z.nullish(z.number())
const effortSchema = z.looseObject({ name: z.string(), level: z.number(), levels: z.number() })
export const metricsSchema = z.looseObject({
  fps_in: nullableNumber,
  fps_generated: nullableNumber,
  fps_out: nullableNumber,
  chunk_ms: nullableNumber,
  chunk_frames: nullableNumber,
  queue_frames: nullableNumber,
  drops: z.nullish(z.record(z.string(), z.nullish(z.number()))),
  bitrate_bps: nullableNumber,
  rtt_ms: nullableNumber,
  loss: nullableNumber,
  encode_ms: nullableNumber,
  codec: z.nullish(z.string()),
  width: nullableNumber,
  height: nullableNumber,
  recording: z.nullish(z.boolean()),
  effort: z.catch(z.nullish(effortSchema), null),
  vram_used_mb: nullableNumber,
  vram_total_mb: nullableNumber,
})
export type ServerMetrics = z.infer<typeof metricsSchema>

/** A key of another service, without its value. */
export const serviceKeySchema = z.looseObject({
  id: z.string(),
  name: z.string(),
  description: z.catch(z.string(), ''),
  is_set: z.boolean(),
  source: z.nullish(z.string()),
  env_var: z.catch(z.string(), ''),
  key_url: z.catch(z.string(), ''),
})
export type ServiceKey = z.infer<typeof serviceKeySchema>

export const pluginSchema = z.looseObject({
  name: z.string(),
  version: z.catch(z.nullish(z.string()), null),
  source: z.catch(z.nullish(z.string()), null),
  editable: z.catch(z.boolean(), false),
  pipelines: z.catch(z.array(z.looseObject({ pipeline_id: z.string(), pipeline_name: z.nullish(z.string()) })), []),
})
export const pluginListSchema = z.looseObject({
  plugins: z.array(pluginSchema),
  failed_plugins: z.catch(
    z.array(z.looseObject({ package_name: z.string(), error_message: z.catch(z.string(), '') })),
    [],
  ),
})
export type PluginList = z.infer<typeof pluginListSchema>
