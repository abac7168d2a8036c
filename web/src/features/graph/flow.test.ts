import { expect, it } from 'vitest'
import { pipelineSchema } from '../../api/types'
import { newDoc, type ProjectDoc } from '../../doc/model'
import { chainOf } from '../../engine/chain'
import { loadPlanFor } from '../../engine/wire'
import { type FlowFacts, flowOf, importedFlow, leavingOf, MAX_SHOWN } from './flow'

const make = (id: string, more: Record<string, unknown> = {}) =>
  pipelineSchema.parse({
    id,
    name: id.toUpperCase(),
    supported_modes: ['text', 'video'],
    supports_prompts: true,
    default_spatial_interpolation_method: 'linear',
    ...more,
  })
const pipelines = {
  gen: make('gen', { supports_lora: true }),
  edges: make('edges', { usage: ['preprocessor'], supports_prompts: false }),
  color: make('color', { usage: ['postprocessor'], supports_prompts: false }),
}
const chain = { before: ['edges'], after: ['color'], control: false }
const facts = (doc: ProjectDoc, more: Partial<FlowFacts> = {}): FlowFacts => ({
  doc,
  chain: chainOf(doc, pipelines.gen, pipelines),
  running: null,
  active: false,
  missing: [],
  window: false,
  recording: false,
  ...more,
})
const lines = ({ lines }: { lines: readonly { from: string; to: string }[] }) =>
  lines.map(({ from, to }) => `${from} > ${to}`)
const states = (of: FlowFacts) => Object.fromEntries(flowOf(of).nodes.map(({ id, state }) => [id, state]))

it('shows the way of the picture, what gives the pipeline values, and where the picture goes', () => {
  const doc = { ...newDoc(), chain, params: { gen: { loras: [{ path: '/a.safetensors', scale: 1 }] } } }
  expect(lines(flowOf(facts(doc)))).toEqual([
    'input > before:edges',
    'before:edges > gen',
    'gen > after:color',
    'after:color > output',
    'prompt > gen',
    'loras > gen',
    'output > stage',
    'output > window',
    'output > recording',
  ])
  const text = flowOf(facts({ ...doc, mode: 'text' }))
  expect(text.nodes.map(({ id }) => id)).not.toContain('input')
  expect(lines(text)).not.toContain('before:edges > gen')
})

it('tells what runs, what waits for a reload, what is off, and what runs until then', () => {
  const before = { ...newDoc(), chain: { ...chain, after: [] } }
  const running = loadPlanFor(before, facts(before).chain)
  const now = facts({ ...newDoc(), chain: { ...chain, before: [] } }, { running, active: true, window: true })
  expect(states(now)).toMatchObject({
    gen: 'runs',
    'after:color': 'waits',
    stage: 'runs',
    window: 'runs',
    recording: 'off',
  })
  expect(leavingOf(now)).toEqual(['edges'])
  expect(states({ ...now, active: false, missing: ['gen'] })).toMatchObject({ gen: 'missing', 'after:color': 'idle' })
})

const GRAPH = {
  nodes: [
    { id: 'cam', type: 'source', source_mode: 'camera' },
    { id: 'net', type: 'source', source_mode: 'ndi' },
    { id: 'e', type: 'pipeline', pipeline_id: 'edges' },
    { id: 'g', type: 'pipeline', pipeline_id: 'gen' },
    { id: 'g2', type: 'pipeline', pipeline_id: 'gen' },
    { id: 'lfo', type: 'slider' },
    { id: 'odd', type: 'node', node_type_id: 'counter' },
    { id: 'out', type: 'sink' },
    { id: 'rec', type: 'record' },
  ],
  edges: [
    { from: 'cam', from_port: 'video', to_node: 'e', to_port: 'video' },
    { from: 'lfo', from_port: 'value', to_node: 'g', to_port: 'noise_scale', kind: 'parameter' },
    { from: 'g', from_port: 'video', to_node: 'gone', to_port: 'video' },
  ],
}

it('shows an imported graph as it is, and says what of it is not run', () => {
  const { chain: nodes } = facts({ ...newDoc(), chain })
  const flow = importedFlow({ extra: { graph: GRAPH } }, nodes)
  expect(flow?.nodes.map(({ id, state }) => `${id} ${state}`)).toEqual([
    'cam idle',
    'net ignored',
    'e idle',
    'g idle',
    'g2 ignored',
    'lfo ignored',
    'odd ignored',
    'out idle',
    'rec ignored',
  ])
  expect(flow?.nodes.filter(({ state, note }) => state === 'ignored' && note === '')).toEqual([])
  expect(flow?.lines).toEqual([
    { from: 'cam', to: 'e', values: false },
    { from: 'lfo', to: 'g', values: true },
  ])
})

it.each([
  ['no graph', undefined],
  ['no list of nodes', { nodes: 7 }],
  ['nothing in it', { nodes: [] }],
  ['nodes without ids', { nodes: [{ type: 'sink' }, 'sink', null] }],
])('shows nothing for %s', (_, graph) => {
  expect(importedFlow({ extra: { graph } }, [])).toBeNull()
})

it('shows no more than can be looked at', () => {
  const nodes = Array.from({ length: 5000 }, (_, i) => ({ id: `n${i}`, type: 'note' }))
  expect(importedFlow({ extra: { graph: { nodes, edges: 'none' } } }, [])?.nodes).toHaveLength(MAX_SHOWN)
})
