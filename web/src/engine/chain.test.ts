import { describe, expect, it } from 'vitest'
import { type Params, pipelineSchema } from '../api/types'
import { addProcessor, moveProcessor, removeProcessor, setControl, withoutProcessors } from '../doc/chain'
import { docSchema, MAX_PROCESSORS, newDoc, type ProjectDoc } from '../doc/model'
import { parseDoc } from '../doc/store'
import { chainOf, needOf } from './chain'
import { graphFor, initialParameters, loadPlanFor } from './wire'

const live = { is_load_param: false }
const load = { is_load_param: true }
const make = (id: string, more: Params = {}, properties: Params = {}) =>
  pipelineSchema.parse({ id, name: id, config_schema: { properties }, ...more })

const pipelines = Object.fromEntries(
  [
    make('edges', { usage: ['preprocessor'] }, { threshold: { type: 'number', default: 0.08, ui: live } }),
    make('scribble', { usage: ['preprocessor'], requires_models: true }),
    make('color', { usage: ['preprocessor', 'postprocessor'] }, { hue: { type: 'number', default: 0, ui: live } }),
    make('resize', { usage: ['postprocessor'] }, { strength: { type: 'integer', default: 5, ui: load } }),
    make(
      'family',
      {
        supported_modes: ['text', 'video'],
        requires_models: true,
        supports_vace: true,
        inputs: ['video', 'vace_input_frames'],
      },
      {
        vae_type: { enum: ['wan', 'tae'], default: 'wan', ui: load },
        vace_context_scale: { type: 'number', default: 1, ui: { ...load, component: 'vace' } },
      },
    ),
    make('plain', { supported_modes: ['text', 'video'] }),
  ].map((pipeline) => [pipeline.id, pipeline]),
)

const docWith = (...changes: ((doc: ProjectDoc) => ProjectDoc)[]) =>
  changes.reduce((doc, change) => change(doc), newDoc())
const chain = (doc: ProjectDoc, main = 'family') => {
  const pipeline = pipelines[main]
  if (!pipeline) throw new Error(main)
  return chainOf(doc, pipeline, pipelines)
}
const ids = (doc: ProjectDoc, main = 'family') => chain(doc, main).map(({ id }) => id)
interface Edge {
  from: string
  to_node: string
  to_port: string
}
const edges = (doc: ProjectDoc, main = 'family') =>
  (graphFor(doc, chain(doc, main)).edges as Edge[]).map((edge) => `${edge.from} > ${edge.to_node}.${edge.to_port}`)

describe('the choice of processors', () => {
  it('keeps each once on a side, in an order that can be changed', () => {
    const doc = docWith(
      addProcessor('before', 'edges'),
      addProcessor('before', 'edges'),
      addProcessor('before', 'color'),
    )
    expect(doc.chain.before).toEqual(['edges', 'color'])
    expect(moveProcessor('before', 'color', -1)(doc).chain.before).toEqual(['color', 'edges'])
    expect(moveProcessor('before', 'color', 1)(doc).chain.before).toEqual(['edges', 'color'])
    expect(removeProcessor('before', 'edges')(doc).chain.before).toEqual(['color'])
    const both = addProcessor('after', 'color')(doc)
    expect(withoutProcessors(new Set(['color']))(both).chain).toMatchObject({ before: ['edges'], after: [] })
  })

  it('is bounded, and what it makes can be stored', () => {
    const many = Array.from({ length: MAX_PROCESSORS + 3 }, (_, i) => addProcessor('after', `p${i}`))
    const doc = docWith(...many)
    expect(doc.chain.after).toHaveLength(MAX_PROCESSORS)
    expect(docSchema.parse(JSON.parse(JSON.stringify(doc)))).toEqual(doc)
  })

  it('is empty in a document from before there was one, which is kept', () => {
    const { chain: _, ...old } = { ...newDoc(), name: 'mine' }
    expect(parseDoc(old)).toMatchObject({
      name: 'mine',
      chain: { before: [], after: [], control: false },
    })
  })
})

describe('the chain', () => {
  const doc = docWith(addProcessor('before', 'edges'), addProcessor('before', 'color'), addProcessor('after', 'color'))

  it('passes pictures through each in turn', () => {
    expect(edges(doc, 'plain')).toEqual([
      'input > before:edges.video',
      'before:edges > before:color.video',
      'before:color > plain.video',
      'plain > after:color.video',
      'after:color > output.video',
    ])
  })

  it('has nothing before a pipeline that has no input', () => {
    const text = { ...doc, mode: 'text' as const }
    expect(edges(text, 'plain')).toEqual(['plain > after:color.video', 'after:color > output.video'])
  })

  it('leaves out what the server does not have or use there', () => {
    const odd = docWith(
      addProcessor('before', 'gone'),
      addProcessor('before', 'resize'),
      addProcessor('after', 'edges'),
    )
    expect(ids(odd)).toEqual(['family'])
  })

  it('guides only what can be guided, and only by video', () => {
    const guided = setControl(true)(doc)
    expect(edges(guided)).toContain('before:color > family.vace_input_frames')
    expect(edges(setControl(true)(newDoc()))).toEqual(['input > family.vace_input_frames', 'family > output.video'])
    expect(edges(guided, 'plain')).toContain('before:color > plain.video')
    expect(edges(doc)).toContain('before:color > family.video')
    const loads = (which: ProjectDoc) =>
      loadPlanFor(which, chain(which)).nodes.find(({ nodeId }) => nodeId === 'family')
    expect(loads(guided)?.loadParams).toMatchObject({ vace_enabled: true })
    expect(loads({ ...guided, mode: 'text' })?.loadParams).toMatchObject({ vace_enabled: false })
    expect(initialParameters(guided, chain(guided))).toMatchObject({ vace_context_scale: 1 })
  })

  it('loads what pictures guide with, also from text', () => {
    const pictures = { ...doc, mode: 'text' as const, params: { family: { vace_ref_images: ['/assets/cat.png'] } } }
    const load = loadPlanFor(pictures, chain(pictures)).nodes.find(({ nodeId }) => nodeId === 'family')
    expect(load?.loadParams).toMatchObject({ vace_enabled: true })
  })

  it('gives each node parameters of its own, also where the same processor stands twice', () => {
    const own = { ...doc, params: { 'before:color': { hue: 30 }, 'after:color': { hue: -90 }, 'before:edges': {} } }
    const nodes = graphFor(own, chain(own, 'plain')).nodes as { id: string; params?: Params }[]
    expect(nodes.map(({ id, params }) => [id, params])).toEqual([
      ['input', undefined],
      ['before:edges', { threshold: 0.08 }],
      ['before:color', { hue: 30 }],
      ['plain', undefined],
      ['after:color', { hue: -90 }],
      ['output', undefined],
    ])
  })

  it('asks processors for no size that they do not declare', () => {
    const side = { type: 'integer', default: 512 }
    const undeclared = make('edges', { usage: ['preprocessor'] }, { width: side, height: side })
    const declared = make('scale', { usage: ['postprocessor'] }, { width: { ...side, ui: load }, height: side })
    const doc = docWith(addProcessor('before', 'edges'), addProcessor('after', 'scale'))
    const nodes = chainOf(doc, make('plain', {}, { width: side, height: side }), { edges: undeclared, scale: declared })
    const size = { width: 512, height: 512 }
    expect(loadPlanFor(doc, nodes).nodes.map(({ loadParams }) => loadParams)).toEqual([{}, size, size])
  })

  it('loads processors under their own ids', () => {
    const sized = { ...addProcessor('after', 'resize')(newDoc()), params: { 'after:resize': { strength: 7 } } }
    expect(loadPlanFor(sized, chain(sized, 'plain')).nodes.at(-1)).toEqual({
      nodeId: 'after:resize',
      pipelineId: 'resize',
      loadParams: { strength: 7 },
      need: null,
    })
  })

  it('needs the files of its settings', () => {
    const tiny = setControl(true)({
      ...addProcessor('before', 'scribble')(newDoc()),
      params: { family: { vae_type: 'tae' } },
    })
    expect(chain(tiny).map((node) => needOf(tiny, node))).toEqual([
      { pipelineId: 'scribble', vaeType: 'wan', vace: false, modelSize: 'small' },
      { pipelineId: 'family', vaeType: 'tae', vace: true, modelSize: 'small' },
    ])
  })
})
