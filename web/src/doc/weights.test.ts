import { describe, expect, it } from 'vitest'
import { addWeighted, largestRemainder, removeWeighted, setWeight } from './weights'

const item = (weight: number, locked = false) => ({ weight, locked })
const weights = (items: { weight: number }[]) => items.map((entry) => entry.weight)
const sum = (values: number[]) => values.reduce((a, b) => a + b, 0)

describe('largestRemainder', () => {
  it('gives the lost units to the largest remainders, first come first served on a tie', () => {
    expect(largestRemainder([1, 1, 1])).toEqual([34, 33, 33])
    expect(largestRemainder([5, 3, 1])).toEqual([56, 33, 11])
  })
  it('shares evenly when nothing has weight and ignores negative or non-finite input', () => {
    expect(largestRemainder([0, 0])).toEqual([50, 50])
    expect(largestRemainder([Number.NaN, -4, 2])).toEqual([0, 0, 100])
  })
  it('always sums to the total', () => {
    for (let seed = 1; seed < 400; seed++) {
      const values = Array.from({ length: 1 + (seed % 4) }, (_, i) => (seed * 7919 * (i + 3)) % 101)
      expect(sum(largestRemainder(values))).toBe(100)
    }
  })
})

describe('setWeight', () => {
  it('moves the unlocked others in proportion', () => {
    expect(weights(setWeight([item(50), item(30), item(20)], 0, 80))).toEqual([80, 12, 8])
  })
  it('never touches a locked weight and never exceeds what is left', () => {
    expect(weights(setWeight([item(40), item(40, true), item(20)], 0, 90))).toEqual([60, 40, 0])
  })
  it('cannot move when every other weight is locked', () => {
    expect(weights(setWeight([item(60), item(40, true)], 0, 10))).toEqual([60, 40])
  })
  it('brings back others that were at zero', () => {
    expect(weights(setWeight([item(100), item(0), item(0)], 0, 50))).toEqual([50, 25, 25])
  })
})

describe('adding and removing', () => {
  it('adds an even share', () => {
    expect(weights(addWeighted([item(100)], item(1)))).toEqual([50, 50])
    expect(weights(addWeighted([item(50), item(50)], item(1)))).toEqual([34, 33, 33])
  })
  it('returns the share of a removed entry', () => {
    expect(weights(removeWeighted([item(20), item(60, true), item(20)], 0))).toEqual([60, 40])
    expect(weights(removeWeighted([item(50, true), item(50)], 1))).toEqual([100])
  })
})
