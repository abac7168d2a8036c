import type { ModelNeed } from '../api/client'
import type { Mode, Params, Pipeline } from '../api/types'
import { processorNode, type Side } from '../doc/chain'
import type { ProjectDoc } from '../doc/model'
import { planFields, REFERENCE_KEYS, resolveParams, type Section, type Use } from '../schema/plan'

/** What runs, and in which order: the processors before the pipeline, the pipeline, those after it. Pure. */

export interface ChainNode {
  /** Its id in the server's graph, and the name of its parameters in the document. */
  id: string
  role: 'main' | Side
  pipeline: Pipeline
  mode: Mode
  /** The input guides the shapes. */
  control: boolean
}

export const CONTROL_PORT = 'vace_input_frames'
const USAGE: Readonly<Record<Side, string>> = { before: 'preprocessor', after: 'postprocessor' }
/** What the server takes where nothing else is said. */
const USUAL_VAE = 'wan'
const USUAL_SIZE = 'small'

export function modeIn(wanted: Mode, pipeline: Pipeline): Mode {
  return pipeline.supported_modes.includes(wanted) ? wanted : pipeline.default_mode
}

export function modeFor(doc: Pick<ProjectDoc, 'mode'>, pipeline: Pipeline): Mode {
  return modeIn(doc.mode, pipeline)
}

/** What may stand on a side. */
export function processorsFor(side: Side, pipelines: Readonly<Record<string, Pipeline>>): Pipeline[] {
  return Object.values(pipelines).filter((pipeline) => pipeline.usage.includes(USAGE[side]))
}

/** Whether a pipeline can be guided by its input. */
export function canControl(pipeline: Pipeline): boolean {
  return pipeline.supports_vace && pipeline.inputs.includes(CONTROL_PORT)
}

export function mainNode(doc: Pick<ProjectDoc, 'mode' | 'chain'>, pipeline: Pipeline): ChainNode {
  const mode = modeFor(doc, pipeline)
  const control = doc.chain.control && mode === 'video' && canControl(pipeline)
  return { id: pipeline.id, role: 'main', pipeline, mode, control }
}

/** The nodes of the document in the order in which pictures pass. Without an input there is nothing before the pipeline. */
export function chainOf(
  doc: Pick<ProjectDoc, 'mode' | 'chain'>,
  pipeline: Pipeline,
  pipelines: Readonly<Record<string, Pipeline>>,
): ChainNode[] {
  const main = mainNode(doc, pipeline)
  const processors = (side: Side): ChainNode[] =>
    doc.chain[side].flatMap((id) => {
      const processor = pipelines[id]
      if (!processor?.usage.includes(USAGE[side])) return []
      return [
        {
          id: processorNode(side, id),
          role: side,
          pipeline: processor,
          mode: modeIn('video', processor),
          control: false,
        },
      ]
    })
  return [...(main.mode === 'video' ? processors('before') : []), main, ...processors('after')]
}

const usageOf = ({ role }: ChainNode): Use => ({ processor: role !== 'main' })

/** The parameters of a node. */
export function sectionsOf(node: ChainNode): Section[] {
  return planFields(node.pipeline, node.mode, usageOf(node))
}

/** What a node is loaded with, and what it starts with. */
export function paramsOf(doc: Pick<ProjectDoc, 'params'>, node: ChainNode): { load: Params; live: Params } {
  const { load, live } = resolveParams(node.pipeline, node.mode, doc.params[node.id] ?? {}, usageOf(node))
  if (canControl(node.pipeline)) load.vace_enabled = usesControl(node, live)
  return { load, live }
}

/** Whether a video or pictures guide the shapes, for which a pipeline loads further blocks. */
function usesControl(node: ChainNode, live: Params): boolean {
  return node.control || REFERENCE_KEYS.some((key) => live[key] !== undefined)
}

/** Which files a node needs; null when none. */
export function needOf(doc: Pick<ProjectDoc, 'params'>, node: ChainNode): ModelNeed | null {
  if (!node.pipeline.requires_models) return null
  const { load, live } = paramsOf(doc, node)
  const { vae_type: vae, model_size: size } = load
  const text = (value: unknown, usual: string) => (typeof value === 'string' ? value : usual)
  return {
    pipelineId: node.pipeline.id,
    vaeType: text(vae, USUAL_VAE),
    vace: usesControl(node, live),
    modelSize: text(size, USUAL_SIZE),
  }
}
