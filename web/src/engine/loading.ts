import type { Mode, ModelStatus, Params, PipelineStatus } from '../api/types'
import { codeFromText, SessionFailure } from './errors'
import { sleep } from './timing'

export interface LoadPlan {
  pipelineId: string
  loadParams: Params
  mode: Mode
  /** The pipeline needs model files: ask for them before a load that could only fail. */
  needsModels?: boolean
}

interface LoadApi {
  status(signal?: AbortSignal): Promise<PipelineStatus>
  load(pipelineId: string, loadParams: Params, signal?: AbortSignal): Promise<void>
  models(pipelineId: string): Promise<ModelStatus>
}

export interface LoadEvents {
  loading(): void
  stage(stage: string | null): void
}

/** Waits between questions: what is nearly there is not kept waiting, what takes long is not pestered. */
const FIRST_POLL_MS = 40
export const POLL_MS = 500
const LOAD_TIMEOUT_MS = 600_000
const EMPTY: Params = {}

export function deepEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const keysA = Object.keys(a)
  const keysB = Object.keys(b)
  return (
    keysA.length === keysB.length && keysA.every((key) => key in b && deepEqual((a as Params)[key], (b as Params)[key]))
  )
}

/** Whether the server's pipeline is the wanted one; parameters it adds by itself do not count against it. */
export function matches(status: PipelineStatus, plan: LoadPlan): boolean {
  if (status.pipeline_id !== plan.pipelineId) return false
  const loaded = status.load_params ?? EMPTY
  return Object.entries(plan.loadParams).every(([key, value]) => deepEqual(loaded[key] ?? null, value ?? null))
}

function loadFailure(status: PipelineStatus): SessionFailure {
  const text = status.error || 'The pipeline could not be loaded'
  return new SessionFailure(status.error_code ?? codeFromText(text) ?? 'load_failed', text)
}

/** Brings the wanted pipeline up with at most one load request, and none when it is already there. */
export async function ensurePipeline(
  api: LoadApi,
  plan: LoadPlan,
  run: AbortSignal,
  events: LoadEvents,
): Promise<void> {
  const before = await api.status(run)
  const present = matches(before, plan)
  if (before.status === 'loaded' && present) return
  if (plan.needsModels) {
    const models = await api.models(plan.pipelineId).catch(() => null)
    run.throwIfAborted()
    if (models && !models.downloaded) {
      throw new SessionFailure('models_missing', 'The model files of this pipeline are not on this machine yet')
    }
  }
  events.loading()
  if (!(before.status === 'loading' && present)) await api.load(plan.pipelineId, plan.loadParams, run)
  let pause = FIRST_POLL_MS
  for (let waited = 0; waited < LOAD_TIMEOUT_MS; waited += pause) {
    if (waited > 0) pause = Math.min(POLL_MS, pause * 2)
    const status = await api.status(run)
    events.stage(status.loading_stage ?? null)
    if (status.status === 'loaded') return
    if (status.status === 'error') throw loadFailure(status)
    if (status.status === 'not_loaded' && waited >= POLL_MS) {
      throw new SessionFailure('pipeline_unloaded', 'The pipeline was unloaded before it was ready')
    }
    await sleep(pause, run)
  }
  throw new SessionFailure('load_timeout', `Not loaded within ${LOAD_TIMEOUT_MS / 60_000} minutes`)
}
