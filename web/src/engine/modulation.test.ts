import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { pipelineSchema } from '../api/types'
import { newDoc, type ProjectDoc } from '../doc/model'
import { RATES, SHAPES, setModulation, setTempo, stopModulations, USUAL_MODULATION } from '../doc/tempo'
import { chainOf } from './chain'
import { canSwing, swingsOf, swung, tempoParameters, wave } from './modulation'
import { initialParameters } from './wire'

const number = (more: Record<string, unknown>) => ({ type: 'number', default: 0.5, ...more })
const live = { ui: { is_load_param: false } }
const pipeline = pipelineSchema.parse({
  id: 'gen',
  name: 'Gen',
  supported_modes: ['text', 'video'],
  default_mode: 'text',
  supports_cache_management: true,
  config_schema: {
    properties: {
      noise_scale: number({ minimum: 0, maximum: 1, ...live }),
      zoom: number({ ...live }),
      delay: number({ minimum: 0, maximum: 10_000, ...live }),
      count: { type: 'integer', default: 3, minimum: 1, maximum: 8, ...live },
      width: number({ minimum: 0, maximum: 1, ui: { is_load_param: true } }),
    },
  },
})
const chain = (doc: ProjectDoc) => chainOf(doc, pipeline, {})
const swinging = (doc = newDoc()) =>
  setTempo({ on: true })(
    setModulation('gen', 'noise_scale', { depth: 0.2, rate: '2_beat', max: 0.9 })({ ...doc, pipelineId: 'gen' }),
  )

it('has the waves of the server', () => {
  // At an eighth, and at five eighths of the period.
  const values = Object.fromEntries(SHAPES.map((shape) => [shape, [wave(shape, 0.125), wave(shape, 0.625)]]))
  const half = Math.SQRT1_2
  const expected = {
    sine: [half, -half],
    cosine: [half, -half],
    triangle: [-0.5, 0.5],
    saw: [-0.75, 0.25],
    square: [1, -1],
    exp_decay: [0.4346, 0.0155],
  }
  for (const [shape, pair] of Object.entries(expected)) {
    expect(values[shape]?.[0]).toBeCloseTo(pair[0] ?? 0, 4)
    expect(values[shape]?.[1]).toBeCloseTo(pair[1] ?? 0, 4)
  }
})

it('stays within depth, limits and bounds, whatever the beat', () => {
  const modulations = fc.record({
    on: fc.constant(true),
    shape: fc.constantFrom(...SHAPES),
    rate: fc.constantFrom(...RATES),
    depth: fc.double({ min: 0, max: 1, noNaN: true }),
    min: fc.option(fc.double({ min: 0, max: 0.5, noNaN: true }), { nil: null }),
    max: fc.option(fc.double({ min: 0.5, max: 1, noNaN: true }), { nil: null }),
  })
  const bases = fc.double({ min: 0, max: 1, noNaN: true })
  const positions = fc.double({ min: -1000, max: 1e6, noNaN: true })
  fc.assert(
    fc.property(modulations, bases, positions, (modulation, base, position) => {
      const value = swung(modulation, { min: 0, max: 1 }, base, position)
      expect(value).toBeGreaterThanOrEqual(modulation.min ?? 0)
      expect(value).toBeLessThanOrEqual(modulation.max ?? 1)
      const inside = base >= (modulation.min ?? 0) && base <= (modulation.max ?? 1)
      if (inside) expect(Math.abs(value - base)).toBeLessThanOrEqual(modulation.depth + 1e-9)
    }),
  )
})

it('repeats with its period, in beats', () => {
  const at = (position: number) => swung({ ...USUAL_MODULATION, rate: 'bar', depth: 0.4 }, {}, 0.5, position)
  expect(at(1)).toBeCloseTo(0.9)
  expect(at(3)).toBeCloseTo(0.1)
  expect(at(5)).toBeCloseTo(0.9)
})

it('is for live numbers with fractions, of ranges in which a swing of one is seen', () => {
  const all = ['noise_scale', 'zoom', 'delay', 'count', 'width']
  const doc = all.reduce((doc, key) => setModulation('gen', key, {})(doc), swinging())
  const can = swingsOf(doc, chain(doc))
  expect(can.map(({ field }) => field.key).sort()).toEqual(['noise_scale', 'zoom'])
  expect(can.every(({ field }) => canSwing(field))).toBe(true)
})

it('goes over the wire whole, under the names of the wire, and with every start', () => {
  const doc = swinging()
  const told = {
    modulations: {
      noise_scale: { enabled: true, shape: 'sine', rate: '2_beat', depth: 0.2, max_value: 0.9 },
    },
    beat_cache_reset_rate: 'none',
  }
  expect(tempoParameters(doc, chain(doc))).toEqual(told)
  expect(initialParameters(doc, chain(doc))).toMatchObject(told)
  expect(tempoParameters(setTempo({ reset: 'bar' })(doc), chain(doc)).beat_cache_reset_rate).toBe('bar')
})

it('is not told while tempo is off, nor when it has been stopped', () => {
  const doc = swinging()
  const off = setTempo({ on: false, reset: 'bar' })(doc)
  expect(tempoParameters(off, chain(off))).toEqual({ modulations: {}, beat_cache_reset_rate: 'none' })
  expect(initialParameters(off, chain(off))).not.toHaveProperty('modulations')
  const stopped = stopModulations(doc)
  expect(tempoParameters(stopped, chain(stopped)).modulations).toEqual({})
  // How it swung is kept.
  expect(stopped.modulations.gen?.noise_scale).toMatchObject({ on: false, depth: 0.2, rate: '2_beat' })
})
