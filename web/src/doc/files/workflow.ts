import type { Params } from '../../api/types'
import { modeSchema } from '../../api/types'
import { z } from '../../api/zod'
import { processorNode } from '../chain'
import { MAX_PROCESSORS, type Method, methodSchema, type ProjectDoc } from '../model'
import { wirePrompts } from '../prompts'
import {
  type EntryKeys,
  entryOf,
  msOf,
  optionalMethod,
  promptsSchema,
  secondsSchema,
  settle,
  sharesOf,
  stepsSchema,
} from './entries'
import { check, FileError, isRecord, type Json, MAX_BLOCKS, others } from './json'
import { extraFrom, fromOwn, keptIn, OWN_KEY, ownOf, readOwn, type Score, type WriteContext } from './score'
import {
  fileName,
  loraFilesSchema,
  lorasFrom,
  lorasIn,
  paramsFromWorkflow,
  withoutDefaults,
  workflowParams,
} from './settings'

/** Workflow files, version 1.0. */

export const WORKFLOW_FORMAT = 'scope-workflow'
const WORKFLOW_VERSION = '1.0'
const KEYS: EntryKeys = {
  start: 'start_time',
  end: 'end_time',
  steps: 'transition_steps',
  method: 'temporal_interpolation_method',
}

const entrySchema = z.looseObject({
  start_time: secondsSchema,
  end_time: secondsSchema,
  prompts: promptsSchema,
  transition_steps: z.nullish(stepsSchema),
  temporal_interpolation_method: optionalMethod,
})
const ENTRY_KEYS = Object.keys(entrySchema.shape)

const pipelineSchema = z.looseObject({
  pipeline_id: z.string().check(z.minLength(1)),
  role: z.nullish(z.enum(['preprocessor', 'main', 'postprocessor'])),
  loras: z.nullish(loraFilesSchema),
  params: z.nullish(z.record(z.string(), z.unknown())),
})
const PIPELINE_KEYS = Object.keys(pipelineSchema.shape)
type WorkflowPipeline = z.infer<typeof pipelineSchema>

const workflowSchema = z.looseObject({
  format: z.literal(WORKFLOW_FORMAT),
  format_version: z.string(),
  metadata: z.nullish(z.record(z.string(), z.unknown())),
  pipelines: z.array(pipelineSchema).check(z.maxLength(150)),
  prompts: z.nullish(promptsSchema),
  transition_steps: z.nullish(stepsSchema),
  temporal_interpolation_method: optionalMethod,
  timeline: z.nullish(z.looseObject({ entries: z.array(entrySchema) })),
})
const TOP_KEYS = [...Object.keys(workflowSchema.shape), OWN_KEY]
/** How several prompts are blended where nobody has chosen. */
const BLEND: Method = 'linear'
const METADATA_KEYS = ['name', 'created_at', 'scope_version']
/** Says again what `prompts` and the pipelines say, so that it is only true while those are as they were. */
const GRAPH = 'graph'

export function isWorkflow(value: Json): boolean {
  return value.format === WORKFLOW_FORMAT
}

const SIDES = { before: 'preprocessor', after: 'postprocessor' } as const

/** Which pipeline makes the picture: the one that says so, or the first where none says anything. */
function mainOf(pipelines: readonly WorkflowPipeline[]): WorkflowPipeline | null {
  const said = pipelines.find(({ role }) => role === 'main')
  if (said) return said
  return pipelines.every(({ role }) => role == null) ? (pipelines[0] ?? null) : null
}

export function readWorkflow(value: Json, text: string): Score {
  const version = String(value.format_version)
  if (!/^1(\.\d+)?$/.test(version)) throw new FileError({ code: 'version', format: 'workflow', version })
  const listed = isRecord(value.timeline) && Array.isArray(value.timeline.entries) ? value.timeline.entries.length : 0
  if (listed > MAX_BLOCKS) throw new FileError({ code: 'blocks', count: listed })
  const file = check(workflowSchema, value, text)
  const own = readOwn(file[OWN_KEY])
  const main = mainOf(file.pipelines)
  const placed = (side: 'before' | 'after') =>
    file.pipelines.filter(({ role }) => role === SIDES[side]).slice(0, MAX_PROCESSORS)
  const ids = (list: readonly WorkflowPipeline[]) => list.map(({ pipeline_id }) => pipeline_id)
  const settled = settle(
    (file.timeline?.entries ?? []).map((entry) => ({
      startMs: msOf(entry.start_time),
      endMs: msOf(entry.end_time),
      prompts: entry.prompts,
      steps: entry.transition_steps,
      method: entry.temporal_interpolation_method,
      extra: others(entry, ENTRY_KEYS),
    })),
    own?.blocks,
  )

  const params: Record<string, Params> = {}
  const loraExtras: Record<string, Json> = {}
  const put = (node: string, pipeline: WorkflowPipeline) => {
    const { loras, rest } = lorasFrom(pipeline.loras ?? [])
    const read = { ...paramsFromWorkflow(pipeline.params ?? {}), ...(loras.length > 0 ? { loras } : {}) }
    const defaults = pipeline === main ? own?.defaults : undefined
    const values = { ...withoutDefaults(read, defaults), ...own?.params?.[node] }
    if (Object.keys(values).length > 0) params[node] = values
    Object.assign(loraExtras, rest)
  }
  if (main) put(main.pipeline_id, main)
  for (const side of ['before', 'after'] as const) {
    for (const pipeline of placed(side)) put(processorNode(side, pipeline.pipeline_id), pipeline)
  }
  const pipelineExtras = file.pipelines.flatMap((pipeline) => {
    const rest = others(pipeline, isOurs(pipeline.source) ? [...PIPELINE_KEYS, 'source'] : PIPELINE_KEYS)
    return rest ? [[pipeline.pipeline_id, rest] as const] : []
  })

  const { name } = file.metadata ?? {}
  const mode = modeSchema.safeParse(main?.params?.input_mode)
  const control = main?.params?.vace_use_input_video
  // The first entry says what is on air first; the prompts of the file are those of a workflow without a timeline.
  const first = settled.blocks[0]?.prompts ?? (file.prompts ? sharesOf(file.prompts) : null)
  const said = file.transition_steps != null || file.temporal_interpolation_method != null
  const transition = said
    ? { steps: file.transition_steps ?? null, method: file.temporal_interpolation_method ?? null }
    : null
  const ours = fromOwn(own)
  const blend = methodSchema.safeParse(file.interpolation_method)
  return {
    ...ours,
    // What is usual needs no choice.
    blend: own || !blend.success ? ours.blend : blend.data === BLEND ? null : blend.data,
    ...settled,
    name: ours.name ?? (typeof name === 'string' && name !== '' ? name : null),
    mode: own?.mode ?? (mode.success ? mode.data : null),
    pipelineId: main?.pipeline_id ?? null,
    before: ids(placed('before')),
    after: ids(placed('after')),
    unplaced: ids(file.pipelines.filter((pipeline) => pipeline !== main && pipeline.role == null)),
    control: ours.control ?? (own ? false : typeof control === 'boolean' ? control : null),
    params,
    prompts: own?.prompts ? sharesOf(own.prompts) : first,
    transition: own ? (own.transition ?? { steps: null, method: null }) : transition,
    extra: extraFrom(others(file, blend.success ? [...TOP_KEYS, 'interpolation_method'] : TOP_KEYS), own, {
      metadata: others(file.metadata ?? {}, METADATA_KEYS),
      pipelines: Object.fromEntries(pipelineExtras),
      loras: loraExtras,
    }),
  }
}

/** A source that says no more than `sourceOf`. */
function isOurs(source: unknown): boolean {
  if (!isRecord(source)) return false
  const { type, plugin_name: plugin, ...rest } = source
  return Object.keys(rest).length === 0 && type === (plugin === undefined ? 'builtin' : 'pypi')
}

function sourceOf(plugin: string | undefined): Json {
  return plugin === undefined ? { type: 'builtin' } : { type: 'pypi', plugin_name: plugin }
}

/** The ids of the pipelines in an imported graph. */
function graphPipelines(graph: unknown): string[] {
  const nodes = isRecord(graph) && Array.isArray(graph.nodes) ? (graph.nodes as unknown[]) : []
  return nodes.flatMap((node) => (isRecord(node) && typeof node.pipeline_id === 'string' ? [node.pipeline_id] : []))
}

export function writeWorkflow(doc: ProjectDoc, context: WriteContext): Json {
  const { top, kept } = keptIn(doc)
  const left: Record<string, Params> = {}
  let defaults: Params = {}
  const pipeline = (id: string, node: string, role: 'preprocessor' | 'main' | 'postprocessor'): Json => {
    const written = workflowParams(doc.params[node] ?? {}, role === 'main' ? (context.effective[node] ?? {}) : {})
    left[node] = written.left
    if (role === 'main') defaults = written.defaults
    return {
      source: sourceOf(context.plugins[id]),
      ...kept.pipelines?.[id],
      pipeline_id: id,
      role,
      loras: lorasIn(doc.params[node]).map(({ path, scale, merge_mode }) => ({
        ...kept.loras?.[fileName(path)],
        filename: fileName(path),
        weight: scale,
        ...(merge_mode === undefined ? {} : { merge_mode }),
      })),
      params: {
        ...written.values,
        ...(role === 'main' ? { input_mode: doc.mode } : {}),
        ...(role === 'main' && doc.chain.control ? { vace_enabled: true } : {}),
      },
    }
  }
  const pipelines = [
    ...doc.chain.before.map((id) => pipeline(id, processorNode('before', id), 'preprocessor')),
    ...(doc.pipelineId === null ? [] : [pipeline(doc.pipelineId, doc.pipelineId, 'main')]),
    ...doc.chain.after.map((id) => pipeline(id, processorNode('after', id), 'postprocessor')),
  ]
  const { [GRAPH]: graph, ...rest } = top
  const ids = pipelines.map(({ pipeline_id }) => pipeline_id)
  const drawn = graphPipelines(graph)
  const fits = drawn.length === ids.length && ids.every((id) => drawn.includes(id as string))
  const prompts = wirePrompts(doc.draft)
  const { steps, method } = doc.transition
  return {
    ...rest,
    format: WORKFLOW_FORMAT,
    format_version: WORKFLOW_VERSION,
    metadata: { ...kept.metadata, name: doc.name, created_at: context.now, scope_version: context.version },
    pipelines,
    ...(prompts.length > 0 ? { prompts } : {}),
    interpolation_method:
      doc.blend ?? (typeof rest.interpolation_method === 'string' ? rest.interpolation_method : BLEND),
    ...(steps === null ? {} : { transition_steps: steps }),
    ...(method === null ? {} : { temporal_interpolation_method: method }),
    timeline:
      doc.blocks.length > 0 ? { entries: doc.blocks.map((block) => entryOf(block, KEYS, context.nowMs)) } : null,
    ...(fits ? { [GRAPH]: graph } : {}),
    [OWN_KEY]: ownOf(doc, left, defaults),
  }
}
