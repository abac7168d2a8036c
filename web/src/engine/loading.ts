import type { LoadRequest, ModelNeed } from '../api/client'
import type { Mode, Params, PipelineStatus } from '../api/types'
import { deepEqual } from '../doc/equal'
import type { ChainSettings } from '../doc/model'
import { fixedPart } from '../schema/loras'
import { codeFromText, SessionFailure } from './errors'
import { sleep } from './timing'

export interface NodePlan extends LoadRequest {
  /** The model files it needs: asked for before a load that could only fail. */
  need: ModelNeed | null
}

export interface LoadPlan {
  /** The node that makes the picture. */
  main: string
  mode: Mode
  /** All nodes, in the order in which pictures pass. */
  nodes: readonly NodePlan[]
  /** The choice of processors that this came from. */
  chain: ChainSettings
}

interface LoadApi {
  status(signal?: AbortSignal): Promise<PipelineStatus>
  load(requests: readonly LoadRequest[], signal?: AbortSignal): Promise<void>
  hasModels(need: ModelNeed, signal?: AbortSignal): Promise<boolean>
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

/** The pipeline first, because a server's status describes the first that is loaded. */
function loadOrder({ nodes, main }: LoadPlan): NodePlan[] {
  return [...nodes.filter((node) => node.nodeId === main), ...nodes.filter((node) => node.nodeId !== main)]
}

/**
 * Whether the server has what is wanted; parameters it adds by itself do not count against it. Those of processors are not
 * told, so that one with parameters is never taken for granted.
 */
export function matches(status: PipelineStatus, plan: LoadPlan): boolean {
  const [main, ...others] = loadOrder(plan)
  if (!main || status.pipeline_id !== main.pipelineId) return false
  const loaded = fixedPart(status.load_params ?? EMPTY)
  const wanted = fixedPart(main.loadParams)
  const same = (key: string) => deepEqual(loaded[key] ?? null, wanted[key] ?? null)
  const there = ({ nodeId, pipelineId, loadParams }: NodePlan) =>
    Object.keys(loadParams).length === 0 &&
    status.pipelines?.some((node) => node.node_id === nodeId && node.pipeline_id === pipelineId) === true
  // Adapters that nobody wants would be seen.
  return Object.keys(wanted).every(same) && same('loras') && others.every(there)
}

/** Whether two plans differ in anything that only a load can change. */
export function differs(a: LoadPlan, b: LoadPlan): boolean {
  const essence = ({ main, mode, nodes }: LoadPlan) => ({
    main,
    mode,
    nodes: nodes.map(({ nodeId, loadParams }) => ({ nodeId, loadParams: fixedPart(loadParams) })),
  })
  return !deepEqual(essence(a), essence(b))
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
  for (const { need } of plan.nodes) {
    if (!need) continue
    const there = await api.hasModels(need, run).catch(() => true)
    run.throwIfAborted()
    if (!there) {
      throw new SessionFailure('models_missing', `Model files of ${need.pipelineId} are not on this machine`)
    }
  }
  events.loading()
  if (!(before.status === 'loading' && present)) await api.load(loadOrder(plan), run)
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
