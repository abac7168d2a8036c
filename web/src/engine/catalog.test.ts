import { describe, expect, it } from 'vitest'
import { type Pipeline, pipelineSchema } from '../api/types'
import { defaultPipeline } from './catalog'

const pipelines: Record<string, Pipeline> = Object.fromEntries(
  [
    { id: 'testcard', supported_modes: ['text', 'video'] },
    { id: 'small', supported_modes: ['text', 'video'] },
    { id: 'passthrough', supports_prompts: false },
  ].map((pipeline) => [pipeline.id, pipelineSchema.parse(pipeline)]),
)

describe('the pipeline to begin with', () => {
  it('is what the server holds already', () => {
    const status = { status: 'loaded', pipeline_id: 'passthrough' } as const
    expect(defaultPipeline(pipelines, 'video', status, 'small')).toBe('passthrough')
  })

  it('is what the server suggests, if it has that', () => {
    const status = { status: 'not_loaded' } as const
    expect(defaultPipeline(pipelines, 'video', status, 'small')).toBe('small')
    expect(defaultPipeline(pipelines, 'video', status, 'gone')).toBe('testcard')
    expect(defaultPipeline(pipelines, 'video', null, null)).toBe('testcard')
  })
})
