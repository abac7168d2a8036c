import { expect, it } from 'vitest'
import { type Pipeline, pipelineSchema } from '../api/types'
import { newDoc, type ProjectDoc } from '../doc/model'
import { defaultPipeline } from './catalog'
import { chainOf, modeFor } from './chain'
import { graphFor, initialParameters, loadPlanFor, takeMessage, transitionOf } from './wire'

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

it('sends a transition when the pipeline has one, and prompts with a cache reset for a hard cut', () => {
  const soft = takeMessage('1', prompts, false, newDoc(), make('gen'))
  expect(soft.message).toEqual({
    _id: '1',
    transition: { target_prompts: prompts, num_steps: 4, temporal_interpolation_method: 'slerp' },
  })
  const hard = takeMessage('2', prompts, true, newDoc(), make('gen'))
  expect(hard.message).toEqual({ _id: '2', prompts, reset_cache: true })
  expect(hard.take.cut).toBe('hard')
})

it('sends plain prompts for zero steps or without a transition method', () => {
  const doc = { ...newDoc(), transition: { steps: 0, method: null } }
  expect(takeMessage('1', prompts, false, doc, make('gen')).message).toEqual({ _id: '1', prompts })
  expect(transitionOf(newDoc(), make('gen', { default_temporal_interpolation_method: null }))).toBeNull()
})

it('asks for no cache reset where there is no cache', () => {
  const plain = make('gen', { supports_cache_management: false })
  expect(takeMessage('1', prompts, true, newDoc(), plain).message).toEqual({ _id: '1', prompts })
})

it('names the node of a take in a chain, whose other nodes would show it too early', () => {
  expect(takeMessage('1', prompts, true, newDoc(), make('gen'), 'gen').message).toEqual({
    _id: '1',
    node_id: 'gen',
    prompts,
    reset_cache: true,
  })
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
