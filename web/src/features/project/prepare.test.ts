import { describe, expect, it } from 'vitest'
import { pipelineSchema } from '../../api/types'
import { type DocumentContent, readFile } from '../../doc/files/read'
import { newDoc } from '../../doc/model'
import { factsOf, matchLora, prepare } from './prepare'

const pipeline = (id: string, usage: string[] = []) => pipelineSchema.parse({ id, name: id.toUpperCase(), usage })
const PIPELINES = Object.fromEntries(
  [pipeline('here'), pipeline('edges', ['preprocessor']), pipeline('color', ['postprocessor'])].map((it) => [
    it.id,
    it,
  ]),
)
const LORAS = [
  { name: 'ink', path: '/lora/styles/ink.safetensors' },
  { name: 'Oil', path: 'C:\\lora\\Oil.safetensors' },
]

function content(file: unknown): DocumentContent {
  const result = readFile(JSON.stringify(file))
  if (!result.ok) throw new Error(result.problem.code)
  if (result.content.kind === 'exact') throw new Error('a score of a show')
  return result.content
}

const workflow = (pipelines: unknown[]) =>
  content({ format: 'scope-workflow', format_version: '1.0', metadata: {}, pipelines, timeline: null })

describe('an adapter of a file', () => {
  it('is found by path, by file name, or by that without its ending', () => {
    expect(matchLora('/lora/styles/ink.safetensors', LORAS)?.name).toBe('ink')
    expect(matchLora('INK.safetensors', LORAS)?.name).toBe('ink')
    expect(matchLora('elsewhere\\oil.pt', LORAS)?.name).toBe('Oil')
    expect(matchLora('watercolour', LORAS)).toBeNull()
  })
  it('gets the path that it has on this server, and is named when it is not there', () => {
    const loras = [{ filename: 'ink.safetensors', weight: 0.5 }, { filename: 'gone.safetensors' }]
    const prepared = prepare('w', workflow([{ pipeline_id: 'here', loras }]), PIPELINES, LORAS)
    expect(prepared.missing).toEqual([{ kind: 'lora', name: 'gone.safetensors' }])
    expect(prepared.apply(true)(newDoc()).params.here?.loras).toEqual([
      { path: '/lora/styles/ink.safetensors', scale: 0.5 },
      { path: 'gone.safetensors', scale: 1 },
    ])
  })
  it('is missing for nobody where the server cannot say', () => {
    const prepared = prepare('w', workflow([{ pipeline_id: 'here', loras: [{ filename: 'x' }] }]), PIPELINES, null)
    expect(prepared.missing).toEqual([])
  })
})

describe('a pipeline of a file', () => {
  it('that is not here leaves the present one, and its values are kept', () => {
    const prepared = prepare('w', workflow([{ pipeline_id: 'gone', params: { noise_scale: 0.3 } }]), PIPELINES, null)
    expect(prepared.missing).toEqual([{ kind: 'pipeline', name: 'gone' }])
    const doc = prepared.apply(true)({ ...newDoc(), pipelineId: 'here' })
    expect(doc.pipelineId).toBe('here')
    expect(doc.params.gone).toEqual({ noise_scale: 0.3 })
  })
  it('without a role goes where its use says, or is left out by name', () => {
    const pipelines = ['here', 'edges', 'color', 'other'].map((pipeline_id) => ({ pipeline_id }))
    const prepared = prepare('w', workflow(pipelines), PIPELINES, null)
    expect(prepared.apply(true)(newDoc()).chain).toMatchObject({ before: ['edges'], after: ['color'] })
    expect(prepared.missing).toEqual([{ kind: 'unplaced', name: 'other' }])
  })
  it('that processes and is not here is left out by name', () => {
    const pipelines = [
      { pipeline_id: 'here', role: 'main' },
      { pipeline_id: 'blur', role: 'preprocessor' },
    ]
    const prepared = prepare('w', workflow(pipelines), PIPELINES, null)
    expect(prepared.missing).toEqual([{ kind: 'processor', name: 'blur' }])
    expect(prepared.apply(true)(newDoc()).chain.before).toEqual([])
  })
})

describe('a summary', () => {
  it('says the same of the document as the import then does', () => {
    const file = content({
      version: '2.1',
      settings: { pipelineId: 'here', inputMode: 'text', resolution: { width: 576, height: 320 } },
      prompts: [{ startTime: 0, endTime: 65, prompts: [{ text: 'x', weight: 1 }] }],
    })
    const prepared = prepare('t', file, PIPELINES, null)
    expect(factsOf(prepared.apply(true)(newDoc()), PIPELINES, 0)).toMatchObject({
      takes: 1,
      durationMs: 65_000,
      pipeline: 'HERE',
      mode: 'text',
      size: '576 × 320',
      parameters: 2,
    })
    expect(factsOf(prepared.apply(false)(newDoc()), PIPELINES, 0)).toMatchObject({
      takes: 1,
      pipeline: null,
      parameters: 0,
    })
  })
  it('of a file without takes keeps those of the document', () => {
    const prepared = prepare('w', workflow([{ pipeline_id: 'here' }]), PIPELINES, null)
    expect(prepared.takes).toBe(false)
    const block = { id: 'a', startMs: 0, endMs: 900, prompts: [], transition: null, cut: 'soft' as const, color: 1 }
    expect(prepared.apply(true)({ ...newDoc(), blocks: [block] }).blocks).toEqual([block])
  })
})
