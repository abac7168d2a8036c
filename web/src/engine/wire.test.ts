import { expect, it } from 'vitest'
import { pipelineSchema } from '../api/types'
import { newDoc } from '../doc/model'
import { defaultPipeline } from './catalog'
import { graphFor, initialParameters, loadPlanFor, modeFor, takeMessage, transitionOf } from './wire'

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

it('builds a graph without a source in text mode', () => {
  expect(graphFor('gen', 'text', 'video').nodes).toHaveLength(2)
  const graph = graphFor('gen', 'video', 'video') as { nodes: { id: string }[]; edges: unknown[] }
  expect(graph.nodes.map((node) => node.id)).toEqual(['input', 'gen', 'output'])
  expect(graph.edges).toHaveLength(2)
})

it('splits a document into a load plan and initial parameters', () => {
  const doc = { ...newDoc(), params: { gen: { width: 640, noise: 0.2 } } }
  expect(loadPlanFor(doc, make('gen')).loadParams).toEqual({ width: 640, height: 320 })
  expect(initialParameters(doc, make('gen'))).toMatchObject({
    noise: 0.2,
    input_mode: 'video',
    prompts: [{ text: 'a dog walking in grass', weight: 100 }],
  })
})

it('sends no prompts to a pipeline without them and falls back to a mode it has', () => {
  const passthrough = make('passthrough', { supports_prompts: false, supported_modes: ['video'] })
  expect(initialParameters(newDoc(), passthrough)).not.toHaveProperty('prompts')
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
  expect(defaultPipeline({ passthrough: pipelines.passthrough }, 'video', null)).toBe('passthrough')
})
