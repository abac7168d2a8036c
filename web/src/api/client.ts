import { request } from './http'
import {
  type Answer,
  type Asset,
  answerSchema,
  assetSchema,
  type Health,
  healthSchema,
  logTailSchema,
  type ModelStatus,
  modelProgressSchema,
  type Params,
  type Pipeline,
  type PipelineStatus,
  pipelineSchema,
  statusSchema,
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
  async load(pipelineId: string, loadParams: Params, signal?: AbortSignal): Promise<void> {
    const pipelines = [{ node_id: pipelineId, pipeline_id: pipelineId, load_params: loadParams }]
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
  models(pipelineId: string): Promise<ModelStatus> {
    return read(modelProgressSchema, request(`${V1}/models/status?pipeline_id=${encodeURIComponent(pipelineId)}`))
  },
  async downloadModels(pipelineId: string): Promise<void> {
    await request(`${V1}/models/download`, { method: 'POST', json: { pipeline_id: pipelineId } })
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
