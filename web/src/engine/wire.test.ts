import { expect, it } from 'vitest'
import { type Pipeline, pipelineSchema } from '../api/types'
import { newDoc, type ProjectDoc } from '../doc/model'
import { defaultPipeline } from './catalog'
import { chainOf, modeFor } from './chain'
import { blendOf, graphFor, initialParameters, loadPlanFor, takeMessage, takeOf, transitionOf } from './wire'

const make = (id: string, more: Record<string, unknown> = {}) =>
  pipelineSchema.parse({
    id,
    name: id,
    supported_modes: ['text', 'video'],
    default_mode: 'video',
    supports_prompts: true,
    supports_cache_management: true,
    default_temporal_interpolation_method: 'slerp',
    default_temporal_interpolation_steps: 4,
    config_schema: {
      properties: {
        width: { type: 'integer', default: 512, ui: { component: 'resolution', is_load_param: true } },
        height: { type: 'integer', default: 320, ui: { component: 'resolution', is_load_param: true } },
        noise: { type: 'number', default: 0.7, ui: { is_load_param: false } },
      },
    },
    ...more,
  })

const alone = (doc: ProjectDoc, pipeline: Pipeline) => chainOf(doc, pipeline, {})
const prompts = [{ text: 'a cow', weight: 100 }]

const told = (hard: boolean, pipeline: Pipeline, { doc = newDoc(), node }: { doc?: ProjectDoc; node?: string } = {}) =>
  takeMessage('1', takeOf(prompts, hard, doc, pipeline), pipeline, node)

it('sends a transition when the pipeline has one, and prompts with a cache reset for a hard cut', () => {
  expect(told(false, make('gen'))).toEqual({
    _id: '1',
    transition: { target_prompts: prompts, num_steps: 4, temporal_interpolation_method: 'slerp' },
  })
  expect(told(true, make('gen'))).toEqual({ _id: '1', prompts, reset_cache: true })
  expect(takeOf(prompts, true, newDoc(), make('gen')).cut).toBe('hard')
})

it('sends plain prompts for zero steps or without a transition method', () => {
  const doc = { ...newDoc(), transition: { steps: 0, method: null } }
  expect(told(false, make('gen'), { doc })).toEqual({ _id: '1', prompts })
  expect(transitionOf(newDoc(), make('gen', { default_temporal_interpolation_method: null }))).toBeNull()
})

it('replays a block with its own transition, and plainly through a pipeline that has none', () => {
  const block = { prompts, transition: { steps: 2, method: 'linear' as const }, cut: 'soft' as const }
  expect(takeMessage('1', block, make('gen')).transition).toEqual({
    target_prompts: prompts,
    num_steps: 2,
    temporal_interpolation_method: 'linear',
  })
  const plain = make('gen', { default_temporal_interpolation_method: null })
  expect(takeMessage('1', block, plain)).toEqual({ _id: '1', prompts })
})

it('asks for no cache reset where there is no cache', () => {
  expect(told(true, make('gen', { supports_cache_management: false }))).toEqual({ _id: '1', prompts })
})

it('names the node of a take in a chain, whose other nodes would show it too early', () => {
  expect(told(true, make('gen'), { node: 'gen' })).toEqual({ _id: '1', node_id: 'gen', prompts, reset_cache: true })
})

it('builds a graph without a source in text mode', () => {
  const graph = (doc: ProjectDoc) =>
    graphFor(doc, alone(doc, make('gen'))) as { nodes: { id: string }[]; edges: unknown[] }
  expect(graph({ ...newDoc(), mode: 'text' }).nodes).toHaveLength(2)
  expect(graph(newDoc()).nodes.map((node) => node.id)).toEqual(['input', 'gen', 'output'])
  expect(graph(newDoc()).edges).toHaveLength(2)
})

it('splits a document into a load plan and initial parameters', () => {
  const doc = { ...newDoc(), params: { gen: { width: 640, noise: 0.2 } } }
  const chain = alone(doc, make('gen'))
  expect(loadPlanFor(doc, chain).nodes).toEqual([
    { nodeId: 'gen', pipelineId: 'gen', loadParams: { width: 640, height: 320 }, need: null },
  ])
  expect(initialParameters(doc, chain)).toMatchObject({
    noise: 0.2,
    input_mode: 'video',
    prompts: [{ text: 'a dog walking in grass', weight: 100 }],
  })
})

it('sends no prompts to a pipeline without them and falls back to a mode it has', () => {
  const passthrough = make('passthrough', { supports_prompts: false, supported_modes: ['video'] })
  expect(initialParameters(newDoc(), alone(newDoc(), passthrough))).not.toHaveProperty('prompts')
  expect(modeFor({ ...newDoc(), mode: 'text' }, passthrough)).toBe('video')
})

it('chooses what the server holds, then the first prompted main pipeline of the mode, then passthrough', () => {
  const pipelines = {
    depth: make('depth', { usage: ['preprocessor'] }),
    passthrough: make('passthrough', { supports_prompts: false }),
    texty: make('texty', { supported_modes: ['text'] }),
    gen: make('gen'),
  }
  expect(defaultPipeline(pipelines, 'video', null)).toBe('gen')
  expect(defaultPipeline(pipelines, 'video', { status: 'loaded', pipeline_id: 'texty' })).toBe('texty')
  expect(defaultPipeline(pipelines, 'video', { status: 'loaded', pipeline_id: 'gone' })).toBe('gen')
  expect(defaultPipeline(pipelines, 'video', { status: 'loaded', pipeline_id: 'depth' })).toBe('gen')
  expect(defaultPipeline({ passthrough: pipelines.passthrough }, 'video', null)).toBe('passthrough')
})

it('starts with the way prompts blend, where the pipeline has one', () => {
  const pipeline = make('gen', { default_spatial_interpolation_method: 'linear' })
  const start = (doc: ProjectDoc, of: Pipeline) => initialParameters(doc, alone(doc, of)).prompt_interpolation_method
  expect(start(newDoc(), pipeline)).toBe('linear')
  expect(start({ ...newDoc(), blend: 'slerp' }, pipeline)).toBe('slerp')
  expect(start({ ...newDoc(), blend: 'slerp' }, make('gen'))).toBeUndefined()
  expect(blendOf({ blend: 'slerp' }, { ...pipeline, supports_prompts: false })).toBeNull()
})
