import { request } from './http'
import {
  type Answer,
  type Asset,
  answerSchema,
  assetSchema,
  type Health,
  healthSchema,
  logTailSchema,
  type ModelList,
  modelListSchema,
  type Params,
  type Pipeline,
  type PipelineStatus,
  pipelineSchema,
  statusSchema,
  type Verification,
  verificationSchema,
} from './types'
import { z } from './zod'

const V1 = '/api/v1'

async function read<T>(schema: z.ZodType<T>, response: Promise<Response>): Promise<T> {
  return schema.parse(await (await response).json())
}

export interface OfferRequest {
  sdp: string
  type: string
  initialParameters: Params
}

/** A pipeline to be loaded, under the id of its node. */
export interface LoadRequest {
  nodeId: string
  pipelineId: string
  loadParams: Params
}

/** A pipeline and those of its settings that decide which files it needs. */
export interface ModelNeed {
  pipelineId: string
  vaeType: string
  vace: boolean
  modelSize: string
}

/** What the server can run, and what it suggests to those who have no choice of their own. */
export interface Offer {
  pipelines: Record<string, Pipeline>
  suggested: string | null
}

/** Every call the app makes to the server, typed and validated at this edge. */
export const api = {
  async authorized(): Promise<boolean> {
    const body = await read(z.looseObject({ authorized: z.boolean() }), request(`${V1}/auth`))
    return body.authorized
  },
  async sendToken(token: string): Promise<void> {
    await request(`${V1}/auth`, { method: 'POST', json: { token } })
  },
  health(timeoutMs = 4000, signal?: AbortSignal): Promise<Health> {
    return read(healthSchema, request('/health', { timeoutMs, signal }))
  },
  async pipelines(): Promise<Offer> {
    const body = await read(
      z.looseObject({
        pipelines: z.record(z.string(), z.unknown()),
        default_pipeline: z.string().nullish().catch(null),
      }),
      request(`${V1}/pipelines/schemas`),
    )
    const known: Record<string, Pipeline> = {}
    for (const [id, raw] of Object.entries(body.pipelines)) {
      const parsed = pipelineSchema.safeParse(raw)
      if (parsed.success) known[id] = { ...parsed.data, name: parsed.data.name || id }
    }
    return { pipelines: known, suggested: body.default_pipeline ?? null }
  },
  status(signal?: AbortSignal): Promise<PipelineStatus> {
    return read(statusSchema, request(`${V1}/pipeline/status`, { signal }))
  },
  /** Everything that is to be loaded: what is not named is unloaded. */
  async load(requests: readonly LoadRequest[], signal?: AbortSignal): Promise<void> {
    const pipelines = requests.map(({ nodeId, pipelineId, loadParams }) => ({
      node_id: nodeId,
      pipeline_id: pipelineId,
      load_params: loadParams,
    }))
    await request(`${V1}/pipeline/load`, { method: 'POST', json: { pipelines }, signal, timeoutMs: 30_000 })
  },
  async unload(): Promise<void> {
    await request(`${V1}/pipeline/unload`, { method: 'POST', json: {}, timeoutMs: 60_000 })
  },
  async iceServers(signal?: AbortSignal): Promise<RTCIceServer[]> {
    const body = await read(
      z.looseObject({ iceServers: z.array(z.looseObject({ urls: z.union([z.string(), z.array(z.string())]) })) }),
      request(`${V1}/webrtc/ice-servers`, { signal }),
    )
    return body.iceServers as RTCIceServer[]
  },
  offer(body: OfferRequest, signal?: AbortSignal): Promise<Answer> {
    return read(answerSchema, request(`${V1}/webrtc/offer`, { method: 'POST', json: body, signal, timeoutMs: 20_000 }))
  },
  restartIce(sessionId: string, sdp: string, signal?: AbortSignal): Promise<Answer> {
    const path = `${V1}/webrtc/offer/${encodeURIComponent(sessionId)}/restart`
    return read(answerSchema, request(path, { method: 'POST', json: { sdp, type: 'offer' }, signal, timeoutMs: 4000 }))
  },
  async candidates(sessionId: string, candidates: RTCIceCandidateInit[]): Promise<void> {
    await request(`${V1}/webrtc/offer/${encodeURIComponent(sessionId)}`, { method: 'PATCH', json: { candidates } })
  },
  async hangUp(sessionId: string, keepalive = false): Promise<void> {
    const path = `${V1}/webrtc/offer/${encodeURIComponent(sessionId)}`
    await request(path, { method: 'DELETE', timeoutMs: 3000, keepalive })
  },
  async sessions(): Promise<string[]> {
    const shape = z.looseObject({ sessions: z.array(z.looseObject({ id: z.string() })) })
    return (await read(shape, request(`${V1}/sessions`))).sessions.map((session) => session.id)
  },
  async endSession(id: string): Promise<void> {
    await request(`${V1}/sessions/${encodeURIComponent(id)}`, { method: 'DELETE' })
  },
  uploadAsset(name: string, data: Blob): Promise<Asset> {
    const path = `${V1}/assets?filename=${encodeURIComponent(name)}`
    return read(assetSchema, request(path, { method: 'POST', body: data, timeoutMs: 120_000 }))
  },
  async startRecording(sessionId: string): Promise<void> {
    await request(`${V1}/recordings/${encodeURIComponent(sessionId)}/start`, { method: 'POST' })
  },
  async stopRecording(sessionId: string): Promise<void> {
    await request(`${V1}/recordings/${encodeURIComponent(sessionId)}/stop`, { method: 'POST', timeoutMs: 30_000 })
  },
  async recording(sessionId: string): Promise<Blob> {
    const response = await request(`${V1}/recordings/${encodeURIComponent(sessionId)}`, { timeoutMs: 120_000 })
    return response.blob()
  },
  logs(lines: number, sinceOffset: number): Promise<z.infer<typeof logTailSchema>> {
    return read(logTailSchema, request(`${V1}/logs/tail?lines=${lines}&since_offset=${sinceOffset}`))
  },
  models(): Promise<ModelList> {
    return read(modelListSchema, request(`${V1}/models`))
  },
  /** Whether everything is there that a pipeline needs with these settings. */
  async hasModels(need: ModelNeed, signal?: AbortSignal): Promise<boolean> {
    const query = new URLSearchParams({
      pipeline_id: need.pipelineId,
      vae_type: need.vaeType,
      vace_enabled: String(need.vace),
      model_size: need.modelSize,
    })
    const shape = z.looseObject({ downloaded: z.boolean() })
    return (await read(shape, request(`${V1}/models/status?${query}`, { signal }))).downloaded
  },
  async downloadModels(need: ModelNeed): Promise<void> {
    const json = {
      pipeline_id: need.pipelineId,
      vae_type: need.vaeType,
      vace_enabled: need.vace,
      model_size: need.modelSize,
    }
    await request(`${V1}/models/download`, { method: 'POST', json, timeoutMs: 60_000 })
  },
  /** Keeps a key of another service on the server, which gives it to nobody else. */
  async storeKey(service: 'huggingface', value: string): Promise<void> {
    await request(`${V1}/keys/${service}`, { method: 'PUT', json: { value } })
  },
  async cancelDownload(pipelineId: string): Promise<void> {
    await request(`${V1}/models/download/${encodeURIComponent(pipelineId)}`, { method: 'DELETE' })
  },
  /** Reads all files of a pipeline, which takes as long as the disk does. */
  async verifyModels(pipelineId: string): Promise<Verification[]> {
    const shape = z.looseObject({ files: z.array(verificationSchema) })
    const json = { pipeline_id: pipelineId }
    return (await read(shape, request(`${V1}/models/verify`, { method: 'POST', json, timeoutMs: 3_600_000 }))).files
  },
}
export type Api = typeof api

/** The address under which the server serves an uploaded asset, whose `path` is absolute on the server's disk. */
export function assetUrl(path: string): string {
  const parts = path.split(/[\\/]/).filter(Boolean)
  const root = parts.lastIndexOf('assets')
  const inside = root >= 0 ? parts.slice(root + 1) : parts.slice(-1)
  return `${V1}/assets/${inside.map(encodeURIComponent).join('/')}`
}
