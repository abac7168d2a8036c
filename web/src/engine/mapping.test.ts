import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  CURVES,
  ghost,
  type Hold,
  type Mapping,
  MODES,
  moved,
  NEAR,
  newMapping,
  sameControl,
  shaped,
  TAKE_OVERS,
  UNHELD,
} from './mapping'

const KNOB = { kind: 'cc', device: 'Knobs', channel: 0, number: 21 } as const
const knob = (more: Partial<Mapping> = {}): Mapping => ({ ...newMapping('m', KNOB, 'noise', 'range'), ...more })
const at = (position: number) => ({ kind: 'position', at: position }) as const

/** Plays positions, and gives what the value was after each. */
function play(mapping: Mapping, positions: readonly number[], start: number, steps = 2) {
  let hold: Hold = UNHELD
  let value = start
  return positions.map((position) => {
    const before = value
    const outcome = moved(mapping, hold, at(position), value, steps)
    hold = outcome.hold
    value = outcome.value ?? value
    return { position, before, value, press: outcome.press, ghost: ghost(mapping, hold) }
  })
}

const fraction = fc.double({ min: 0, max: 1, noNaN: true })
const midi = fc.integer({ min: 0, max: 127 }).map((value) => value / 127)
const anyMapping = fc
  .record({
    min: fraction,
    max: fraction,
    curve: fc.constantFrom(...CURVES),
    invert: fc.boolean(),
    mode: fc.constantFrom(...MODES),
    takeOver: fc.constantFrom(...TAKE_OVERS),
  })
  .map((more) => knob(more))
const continuous = (takeOver: Mapping['takeOver']) =>
  anyMapping.map((mapping): Mapping => ({ ...mapping, mode: 'continuous', takeOver }))

describe('a mapping', () => {
  it('keeps every value it sets within its range', () => {
    fc.assert(
      fc.property(anyMapping, fc.array(midi, { maxLength: 30 }), fraction, (mapping, positions, start) => {
        const [low, high] = [Math.min(mapping.min, mapping.max), Math.max(mapping.min, mapping.max)]
        for (const { before, value } of play(mapping, positions, start, 5)) {
          if (value === before) continue
          expect(value).toBeGreaterThanOrEqual(Math.min(low, before) - 1e-9)
          expect(value).toBeLessThanOrEqual(Math.max(high, before) + 1e-9)
        }
      }),
    )
  })
  it('reaches both ends, whatever its curve', () => {
    for (const curve of CURVES) {
      expect(shaped({ min: 0.2, max: 0.9, curve, invert: false }, 0)).toBeCloseTo(0.2)
      expect(shaped({ min: 0.2, max: 0.9, curve, invert: false }, 1)).toBeCloseTo(0.9)
      expect(shaped({ min: 0.2, max: 0.9, curve, invert: true }, 1)).toBeCloseTo(0.2)
    }
  })
})

describe('pick-up', () => {
  it('never moves a value further than the hand has moved the knob', () => {
    fc.assert(
      fc.property(continuous('pickup'), fc.array(midi, { maxLength: 40 }), fraction, (mapping, positions, start) => {
        const played = play(mapping, positions, start)
        for (const [i, { position, before, value }] of played.entries()) {
          if (value === before) continue
          const from = played[i - 1]
          const hand = from ? Math.abs(shaped(mapping, position) - shaped(mapping, from.position)) : 0
          expect(Math.abs(value - before)).toBeLessThanOrEqual(Math.max(hand, NEAR) + NEAR)
        }
      }),
    )
  })
  it('waits until the knob has come to the value, shows where it is, and then follows', () => {
    const [first, second, crossing, after] = play(knob(), [0.1, 0.4, 0.7, 0.9], 0.5)
    expect([first?.value, second?.value, crossing?.value, after?.value]).toEqual([0.5, 0.5, 0.7, 0.9])
    expect([first?.ghost, second?.ghost, crossing?.ghost]).toEqual([0.1, 0.4, null])
  })
  it('waits again when somebody else has moved the value', () => {
    const mapping = knob()
    const held = moved(mapping, UNHELD, at(0.5), 0.5, 2).hold
    const elsewhere = moved(mapping, held, at(0.55), 0.1, 2)
    expect(elsewhere.value).toBeNull()
    expect(ghost(mapping, elsewhere.hold)).toBeCloseTo(0.55)
  })
})

describe('scale', () => {
  it('never jumps with the first movement, and goes the way of the hand', () => {
    fc.assert(
      fc.property(continuous('scale'), midi, midi, fraction, (mapping, from, to, part) => {
        const start = mapping.min + (mapping.max - mapping.min) * part
        const [first, second] = play(mapping, [from, to], start)
        expect(first?.value).toBe(start)
        const hand = shaped(mapping, to) - shaped(mapping, from)
        expect(((second?.value ?? start) - start) * hand).toBeGreaterThanOrEqual(-1e-12)
      }),
    )
  })
  it('reaches the end together with the knob', () => {
    expect(play(knob({ takeOver: 'scale' }), [0.2, 0.5, 1], 0.6).at(-1)?.value).toBeCloseTo(1)
    expect(play(knob({ takeOver: 'scale' }), [0.9, 0.4, 0], 0.3).at(-1)?.value).toBeCloseTo(0)
  })
})

describe('buttons', () => {
  it('toggle at each press, not at each release', () => {
    const values = play(knob({ mode: 'toggle' }), [1, 0, 1, 0], 0).map(({ value }) => value)
    expect(values).toEqual([1, 1, 0, 0])
  })
  it('gate between two values while they are held', () => {
    const values = play(knob({ mode: 'gate', min: 0.2, max: 0.8 }), [1, 0], 0.5).map(({ value }) => value)
    expect(values).toEqual([0.8, 0.2])
  })
  it('cycle through choices and start again', () => {
    const values = play(knob({ mode: 'cycle' }), [1, 0, 1, 0, 1, 0], 0, 3).map(({ value }) => value)
    expect(values).toEqual([0.5, 0.5, 1, 1, 0, 0])
  })
  it('trigger once per press', () => {
    const presses = play(knob({ mode: 'trigger' }), [0.6, 0.9, 0.2, 1], 0).map(({ press }) => press)
    expect(presses).toEqual([true, false, false, true])
  })
})

it('an endless encoder moves a value from where it is, and stops at the ends', () => {
  const step = (now: number, by: number) => moved(knob(), UNHELD, { kind: 'steps', by }, now, 2).value
  expect(step(0.5, 1)).toBeCloseTo(0.5 + 1 / 64)
  expect(step(0.5, -2)).toBeCloseTo(0.5 - 2 / 64)
  expect(step(0.99, 5)).toBe(1)
  expect(step(1, 5)).toBeNull()
})

it('knows a control again on any device when its mapping says so, and on no other channel', () => {
  expect(sameControl(KNOB, { ...KNOB, device: 'Pads' })).toBe(false)
  expect(sameControl({ ...KNOB, device: null }, { ...KNOB, device: 'Pads' })).toBe(true)
  expect(sameControl(KNOB, { ...KNOB, channel: 1 })).toBe(false)
  expect(sameControl({ ...KNOB, kind: 'cc14' }, KNOB)).toBe(true)
  expect(sameControl(KNOB, { ...KNOB, kind: 'note' })).toBe(false)
})
