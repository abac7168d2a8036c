import type { Mode, Params, Pipeline } from '../api/types'
import type { Method, ProjectDoc, WirePrompt } from '../doc/model'
import type { Take } from '../doc/timeline'
import { resolveParams } from '../schema/plan'
import type { Size } from '../schema/resolution'
import type { LoadPlan } from './loading'

/** What the document means on the wire. Pure. */

export interface Transition {
  steps: number
  method: Method
}

/** The transition in force: the user's choice, else the pipeline's; null where the pipeline has none. */
export function transitionOf(doc: ProjectDoc, pipeline: Pipeline): Transition | null {
  const own = pipeline.default_temporal_interpolation_method
  if (!own || !pipeline.supports_prompts) return null
  return {
    steps: doc.transition.steps ?? pipeline.default_temporal_interpolation_steps ?? 0,
    method: doc.transition.method ?? own,
  }
}

export function modeFor(doc: ProjectDoc, pipeline: Pipeline): Mode {
  return pipeline.supported_modes.includes(doc.mode) ? doc.mode : pipeline.default_mode
}

/** The message of a take, and the block it becomes. */
export function takeMessage(
  id: string,
  prompts: readonly WirePrompt[],
  hard: boolean,
  doc: ProjectDoc,
  pipeline: Pipeline,
): { message: Params; take: Take } {
  const transition = hard ? null : transitionOf(doc, pipeline)
  const smooth = transition !== null && transition.steps > 0
  const message: Params = { _id: id }
  if (smooth) {
    message.transition = {
      target_prompts: prompts,
      num_steps: transition.steps,
      temporal_interpolation_method: transition.method,
    }
  } else {
    message.prompts = prompts
  }
  if (hard && pipeline.supports_cache_management) message.reset_cache = true
  return { message, take: { prompts, transition: smooth ? transition : null, cut: hard ? 'hard' : 'soft' } }
}

/** Source, pipeline and sink as the server's graph; text mode has no source. */
export function graphFor(pipelineId: string, mode: Mode, sourceMode: string): Params {
  const nodes: Params[] = [
    { id: pipelineId, type: 'pipeline', pipeline_id: pipelineId },
    { id: 'output', type: 'sink' },
  ]
  const edges: Params[] = [
    { from: pipelineId, from_port: 'video', to_node: 'output', to_port: 'video', kind: 'stream' },
  ]
  if (mode === 'video') {
    nodes.unshift({ id: 'input', type: 'source', source_mode: sourceMode })
    edges.unshift({ from: 'input', from_port: 'video', to_node: pipelineId, to_port: 'video', kind: 'stream' })
  }
  return { nodes, edges }
}

export function loadPlanFor(doc: ProjectDoc, pipeline: Pipeline): LoadPlan {
  const mode = modeFor(doc, pipeline)
  const { load } = resolveParams(pipeline, mode, doc.params[pipeline.id] ?? {})
  return { pipelineId: pipeline.id, loadParams: load, mode, needsModels: pipeline.requires_models }
}

export function initialParameters(doc: ProjectDoc, pipeline: Pipeline): Params {
  const mode = modeFor(doc, pipeline)
  const { live } = resolveParams(pipeline, mode, doc.params[pipeline.id] ?? {})
  const initial: Params = {
    ...live,
    input_mode: mode,
    pipeline_ids: [pipeline.id],
    graph: graphFor(pipeline.id, mode, 'video'),
  }
  if (pipeline.supports_prompts) initial.prompts = doc.onAir
  return initial
}

/** The size in use: what the pipeline is loaded with, which is also the size we send. */
export function sizeFor(doc: ProjectDoc, pipeline: Pipeline): Size {
  const { load, live } = resolveParams(pipeline, modeFor(doc, pipeline), doc.params[pipeline.id] ?? {})
  const read = (key: string) => Number(load[key] ?? live[key]) || 512
  return { width: read('width'), height: read('height') }
}
