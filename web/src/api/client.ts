import { request } from './http'
import {
  type Answer,
  type Asset,
  answerSchema,
  assetSchema,
  type Hardware,
  type Health,
  hardwareSchema,
  healthSchema,
  type Lora,
  logTailSchema,
  loraSchema,
  type ModelList,
  modelListSchema,
  type Params,
  type Pipeline,
  type PipelineStatus,
  type PluginList,
  pipelineSchema,
  pluginListSchema,
  type ServiceKey,
  serviceKeySchema,
  statusSchema,
  type Verification,
  verificationSchema,
} from './types'
import { type SendOptions, send } from './upload'
import { z } from './zod'

const V1 = '/api/v1'

async function read<T>(schema: z.ZodMiniType<T>, response: Promise<Response>): Promise<T> {
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

/** Who asks for a key before it hands out files. */
export type KeyService = 'huggingface' | 'civitai'

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
  hardware(): Promise<Hardware> {
    return read(hardwareSchema, request(`${V1}/hardware/info`))
  },
  async pipelines(): Promise<Offer> {
    const body = await read(
      z.looseObject({
        pipelines: z.record(z.string(), z.unknown()),
        default_pipeline: z.catch(z.nullish(z.string()), null),
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
  async assets(): Promise<Asset[]> {
    const shape = z.looseObject({ assets: z.array(assetSchema) })
    return (await read(shape, request(`${V1}/assets`))).assets
  },
  async uploadAsset(name: string, data: Blob, options?: SendOptions): Promise<Asset> {
    return assetSchema.parse(await send(`${V1}/assets?filename=${encodeURIComponent(name)}`, data, options))
  },
  async asset(path: string): Promise<Blob> {
    return (await request(assetUrl(path), { timeoutMs: 120_000 })).blob()
  },
  async removeAsset(path: string, keepalive = false): Promise<void> {
    await request(assetUrl(path), { method: 'DELETE', keepalive })
  },
  async loras(): Promise<Lora[]> {
    const shape = z.looseObject({ lora_files: z.array(loraSchema) })
    return (await read(shape, request(`${V1}/loras`))).lora_files
  },
  async uploadLora(name: string, data: Blob, options?: SendOptions): Promise<Lora> {
    const answer = await send(`${V1}/loras/upload?filename=${encodeURIComponent(name)}`, data, options)
    return z.looseObject({ file: loraSchema }).parse(answer).file
  },
  /** Answers when the adapter is there, which takes as long as the network does. */
  async installLora(url: string): Promise<Lora> {
    const shape = z.looseObject({ file: loraSchema })
    return (await read(shape, request(`${V1}/loras`, { method: 'POST', json: { url }, timeoutMs: 3_600_000 }))).file
  },
  /** Ends an installation, by the name that its progress has. */
  async cancelLora(filename: string): Promise<void> {
    await request(`${V1}/lora/download/${encodeURIComponent(filename)}`, { method: 'DELETE' })
  },
  async removeLora(name: string, keepalive = false): Promise<void> {
    await request(`${V1}/loras/${encodeURIComponent(name)}`, { method: 'DELETE', keepalive })
  },
  /** The file stays on the server, however the session ends. */
  async startRecording(sessionId: string): Promise<void> {
    await request(`${V1}/recordings/${encodeURIComponent(sessionId)}/start?keep=true`, { method: 'POST' })
  },
  /** Where the recording was filed; null when it was not. */
  async stopRecording(sessionId: string): Promise<Asset | null> {
    const path = `${V1}/recordings/${encodeURIComponent(sessionId)}/stop`
    const shape = z.looseObject({ asset: z.nullish(assetSchema) })
    return (await read(shape, request(path, { method: 'POST', timeoutMs: 30_000 }))).asset ?? null
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
  async storeKey(service: string, value: string): Promise<void> {
    await request(`${V1}/keys/${encodeURIComponent(service)}`, { method: 'PUT', json: { value } })
  },
  async forgetKey(service: string): Promise<void> {
    await request(`${V1}/keys/${encodeURIComponent(service)}`, { method: 'DELETE' })
  },
  async keys(): Promise<ServiceKey[]> {
    return (await read(z.looseObject({ keys: z.array(serviceKeySchema) }), request(`${V1}/keys`))).keys
  },
  plugins(): Promise<PluginList> {
    return read(pluginListSchema, request(`${V1}/plugins`))
  },
  /** The whole log of the server since its start. */
  async log(): Promise<Blob> {
    return (await request(`${V1}/logs/current`, { timeoutMs: 60_000 })).blob()
  },
  async cancelDownload(pipelineId: string): Promise<void> {
    await request(`${V1}/models/download/${encodeURIComponent(pipelineId)}`, { method: 'DELETE' })
  },
  /** Deletes a pipeline's files that no other complete one needs. */
  async removeModels(pipelineId: string): Promise<void> {
    await request(`${V1}/models/${encodeURIComponent(pipelineId)}`, { method: 'DELETE', timeoutMs: 60_000 })
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
