import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { type Params, pipelineSchema } from '../api/types'
import { newDoc, type ProjectDoc } from '../doc/model'
import { setModulation, setTempo } from '../doc/tempo'
import type { Take } from '../doc/timeline'
import { chainOf } from './chain'
import { Music } from './music'
import { ParamBus } from './paramBus'

const pipeline = pipelineSchema.parse({
  id: 'gen',
  supported_modes: ['text'],
  default_mode: 'text',
  config_schema: {
    properties: { noise: { type: 'number', default: 0.5, minimum: 0, maximum: 1, ui: { is_load_param: false } } },
  },
})
const take: Take = { prompts: [{ text: 'a cow', weight: 100 }], transition: null, cut: 'soft' }

let doc: ProjectDoc
let sent: Params[]
let music: Music
let clock: { ms: number; running: boolean }

function change(next: (doc: ProjectDoc) => ProjectDoc): void {
  const before = doc
  doc = next(doc)
  music.docChanged(doc, before)
}

beforeEach(() => {
  vi.useFakeTimers()
  doc = setTempo({ on: true, quantize: 'bar' })({ ...newDoc(), pipelineId: 'gen' })
  sent = []
  clock = { ms: 0, running: false }
  const bus = new ParamBus(() => Date.now())
  bus.attach({ readyState: 'open', send: (text) => sent.push(JSON.parse(text)) })
  music = new Music({
    bus,
    doc: () => doc,
    change,
    chain: () => chainOf(doc, pipeline, {}),
    clock: () => clock,
    roundTripMs: () => null,
  })
})
afterEach(() => vi.useRealTimers())

const hold = () => music.hold(take, () => ({ _id: '1', prompts: take.prompts }))

it('holds a take back by telling the server the beat, and never asks when it was applied', () => {
  vi.advanceTimersByTime(1000)
  expect(hold()).toBe(true)
  expect(sent.at(-1)).toMatchObject({ prompts: take.prompts, _quantized: true, quantize_mode: 'bar', bpm: 120 })
  expect(sent.at(-1)).not.toHaveProperty('_id')
  expect(music.receive({ type: 'change_scheduled', delay_ms: 700 })).toBeNull()
  expect(music.quantiser.waiting).not.toBeNull()
  vi.advanceTimersByTime(750)
  expect(music.receive({ type: 'change_applied' })).toBe(take)
})

it('tells the true beat right after one that it has told for other bars', () => {
  change(setTempo({ beatsPerBar: 3 }))
  vi.advanceTimersByTime(300)
  sent = []
  hold()
  expect(sent.map((message) => '_quantized' in message)).toEqual([true, false])
  expect(sent[1]).toMatchObject({ bpm: 120 })
})

it('holds nothing back without a grid or a beat', () => {
  change(setTempo({ quantize: 'none' }))
  expect(hold()).toBe(false)
  change(setTempo({ quantize: 'bar', source: 'midi' }))
  expect(hold()).toBe(false)
  expect(sent.filter((message) => '_quantized' in message)).toEqual([])
})

it.each([
  ['cancelled', () => music.cancelTake()],
  ['given another grid', () => change(setTempo({ quantize: 'beat' }))],
  ['left without tempo', () => change(setTempo({ on: false }))],
])('a take that is %s is forgotten by the server too', (_, act) => {
  hold()
  music.receive({ type: 'change_scheduled', delay_ms: 700 })
  sent = []
  act()
  expect(music.quantiser.waiting).toBeNull()
  expect(sent.filter((message) => 'quantize_mode' in message)).toHaveLength(1)
})

it('says that a take was lost with the session, and nothing if none waited', () => {
  music.onLost = vi.fn()
  music.ended()
  expect(music.onLost).not.toHaveBeenCalled()
  hold()
  music.ended()
  expect(music.onLost).toHaveBeenCalledOnce()
})

it('tells what swings when it changes, and that nothing does when tempo is off', () => {
  change(setModulation('gen', 'noise', { depth: 0.1 }))
  vi.advanceTimersByTime(50)
  const told = () => sent.filter((message) => 'modulations' in message).map(({ modulations }) => modulations)
  expect(told()).toEqual([{ noise: { enabled: true, shape: 'sine', rate: 'beat', depth: 0.1 } }])
  change(setTempo({ on: false }))
  vi.advanceTimersByTime(50)
  expect(told().at(-1)).toEqual({})
  change(setTempo({ on: true }))
  vi.advanceTimersByTime(50)
  expect(told()).toHaveLength(3)
})

it('lays the bars of the timeline under the music while its clock runs', () => {
  music.tempo.setOne()
  clock = { ms: 5300, running: true }
  music.align()
  // 120 beats a minute: a bar is two seconds, and one begins now.
  expect(doc.tempo.originMs).toBeCloseTo(-700, 3)
  clock = { ms: 100, running: false }
  music.align()
  expect(doc.tempo.originMs).toBeCloseTo(-700, 3)
})
