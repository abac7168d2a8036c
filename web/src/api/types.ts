import { z } from './zod'

export const modeSchema = z.enum(['text', 'video'])
export type Mode = z.infer<typeof modeSchema>

export type ParamValue = unknown
export type Params = Record<string, ParamValue>

export const propUiSchema = z.looseObject({
  category: z.string().optional(),
  is_load_param: z.boolean().optional(),
  order: z.number().nullish(),
  component: z.string().nullish(),
  modes: z.array(z.string()).nullish(),
  label: z.string().nullish(),
  section: z.string().nullish(),
  unit: z.string().nullish(),
  step: z.number().nullish(),
  presets: z.array(z.unknown()).nullish(),
  advanced: z.boolean().nullish(),
  multiple_of: z.number().nullish(),
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
  anyOf?: JsonProp[] | undefined
  $ref?: string | undefined
  ui?: z.infer<typeof propUiSchema> | undefined
}

export const propSchema: z.ZodType<JsonProp> = z.lazy(() =>
  z.looseObject({
    type: z.string().optional(),
    title: z.string().optional(),
    description: z.string().optional(),
    default: z.unknown().optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
    multipleOf: z.number().optional(),
    minItems: z.number().optional(),
    maxItems: z.number().optional(),
    enum: z.array(z.unknown()).optional(),
    items: propSchema.optional(),
    anyOf: z.array(propSchema).optional(),
    $ref: z.string().optional(),
    ui: propUiSchema.optional(),
  }),
)

export const pipelineSchema = z.looseObject({
  id: z.string(),
  name: z.string().catch(''),
  description: z.string().nullish().catch(null),
  supported_modes: z.array(modeSchema).catch(['video']),
  default_mode: modeSchema.catch('video'),
  supports_prompts: z.boolean().catch(true),
  supports_vace: z.boolean().catch(false),
  default_temporal_interpolation_method: z.enum(['linear', 'slerp']).nullish().catch(null),
  default_temporal_interpolation_steps: z.number().nullish().catch(null),
  estimated_vram_gb: z.number().nullish().catch(null),
  requires_models: z.boolean().catch(false),
  supports_cache_management: z.boolean().catch(false),
  min_dimension: z.number().catch(1),
  usage: z.array(z.string()).catch([]),
  inputs: z.array(z.string()).catch(['video']),
  config_schema: z
    .looseObject({
      $defs: z.record(z.string(), propSchema).optional(),
      properties: z.record(z.string(), propSchema).catch({}),
    })
    .catch({ properties: {} }),
  mode_defaults: z.record(z.string(), z.record(z.string(), z.unknown())).nullish().catch(null),
  plugin_name: z.string().nullish().catch(null),
  example_prompts: z.array(z.string()).nullish().catch(null),
  default_prompt: z.string().nullish().catch(null),
})
export type Pipeline = z.infer<typeof pipelineSchema>

export const statusSchema = z.looseObject({
  status: z.enum(['not_loaded', 'loading', 'loaded', 'error']),
  pipeline_id: z.string().nullish(),
  load_params: z.record(z.string(), z.unknown()).nullish(),
  /** Everything that is loaded; the fields above name only the first. */
  pipelines: z.array(z.looseObject({ node_id: z.string(), pipeline_id: z.string() })).nullish(),
  error: z.string().nullish(),
  error_code: z.string().nullish(),
  loading_stage: z.string().nullish(),
})
export type PipelineStatus = z.infer<typeof statusSchema>

export const healthSchema = z.looseObject({
  server_start_time: z.number(),
  version: z.string().catch(''),
})
export type Health = z.infer<typeof healthSchema>

export const answerSchema = z.looseObject({
  sdp: z.string(),
  type: z.enum(['answer', 'offer', 'pranswer', 'rollback']),
  sessionId: z.string(),
})
export type Answer = z.infer<typeof answerSchema>

export const assetSchema = z.looseObject({ name: z.string(), path: z.string(), type: z.string().catch('') })
export type Asset = z.infer<typeof assetSchema>

export const logTailSchema = z.looseObject({ lines: z.array(z.string()), offset: z.number() })

/** A download that goes on or has failed. */
export const downloadSchema = z.looseObject({
  is_downloading: z.boolean().catch(false),
  state: z.string().nullish(),
  percentage: z.number().nullish(),
  current_artifact: z.string().nullish(),
  error: z.string().nullish(),
  error_code: z.string().nullish(),
  downloaded_bytes: z.number().nullish(),
  total_bytes: z.number().nullish(),
  bytes_per_second: z.number().nullish(),
  eta_seconds: z.number().nullish(),
  waiting_for: z.string().nullish(),
})
export type Download = z.infer<typeof downloadSchema>

export const fileStateSchema = z.enum(['missing', 'partial', 'damaged', 'complete'])
export type FileState = z.infer<typeof fileStateSchema>

export const modelFileSchema = z.looseObject({
  path: z.string(),
  repository: z.string().catch(''),
  role: z.string().catch(''),
  state: fileStateSchema,
  verified: z.boolean().catch(false),
  bytes: z.number().catch(0),
  size: z.number().nullish(),
  problem: z.string().nullish(),
  /** Which settings have a use for it; empty for all. */
  when: z
    .looseObject({
      vae_type: z.string().optional(),
      vace: z.boolean().optional(),
      model_size: z.string().optional(),
    })
    .catch({}),
})
export type ModelFile = z.infer<typeof modelFileSchema>

/** The files of one pipeline. */
export const modelSchema = z.looseObject({
  pipeline_id: z.string(),
  name: z.string().catch(''),
  sizes_are_exact: z.boolean().catch(false),
  progress: downloadSchema.nullish(),
  files: z.array(modelFileSchema).catch([]),
  repositories: z.array(z.looseObject({ id: z.string(), licence: z.string().nullish(), page: z.string() })).catch([]),
})
export type Model = z.infer<typeof modelSchema>

export const modelListSchema = z.looseObject({
  models: z.array(modelSchema),
  /** What the disk has room for; null when nobody knows. */
  room_bytes: z.number().nullish(),
})
export type ModelList = z.infer<typeof modelListSchema>

/** Pushed while a download goes on, and when it ends. */
export const downloadEventSchema = z.looseObject({
  pipeline_id: z.string(),
  state: z.string(),
  progress: downloadSchema.nullish(),
})
export type DownloadEvent = z.infer<typeof downloadEventSchema>

export const verificationSchema = z.looseObject({
  path: z.string(),
  outcome: z.string(),
  problem: z.string().nullish(),
})
export type Verification = z.infer<typeof verificationSchema>

const nullableNumber = z.number().nullish()
const effortSchema = z.looseObject({ name: z.string(), level: z.number(), levels: z.number() })
export const metricsSchema = z.looseObject({
  fps_in: nullableNumber,
  fps_generated: nullableNumber,
  fps_out: nullableNumber,
  chunk_ms: nullableNumber,
  chunk_frames: nullableNumber,
  queue_frames: nullableNumber,
  drops: z.record(z.string(), z.number().nullish()).nullish(),
  bitrate_bps: nullableNumber,
  rtt_ms: nullableNumber,
  loss: nullableNumber,
  encode_ms: nullableNumber,
  codec: z.string().nullish(),
  width: nullableNumber,
  height: nullableNumber,
  recording: z.boolean().nullish(),
  effort: effortSchema.nullish().catch(null),
  vram_used_mb: nullableNumber,
  vram_total_mb: nullableNumber,
})
export type ServerMetrics = z.infer<typeof metricsSchema>
