import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rebaseParams } from './rebaseParams'

const key = fc.constantFrom('noise', 'steps', 'seed')
const node = fc.constantFrom('gen', 'before:blur')
const value = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constant([1, 2]))
const params = fc.dictionary(node, fc.dictionary(key, value, { maxKeys: 3 }), { maxKeys: 2 })

describe('parameters on the way through the history', () => {
  it('come back where nobody else has been', () => {
    const [from, to] = [{ gen: { noise: 0.9, seed: 1 } }, { gen: { noise: 0.2, seed: 1 } }]
    expect(rebaseParams({ from, to, current: from })).toEqual(to)
  })

  it('stay as somebody else has set them since, each for itself', () => {
    const from = { gen: { noise: 0.9, seed: 5 } }
    const to = { gen: { noise: 0.2, seed: 1 } }
    const current = { gen: { noise: 0.4, seed: 5, steps: 3 }, blur: { radius: 2 } }
    expect(rebaseParams({ from, to, current })).toEqual({ gen: { noise: 0.4, seed: 1, steps: 3 }, blur: { radius: 2 } })
  })

  it('go back to being the default, and leave no empty node behind', () => {
    expect(rebaseParams({ from: { gen: { noise: 1 } }, to: {}, current: { gen: { noise: 1 } } })).toEqual({})
    const current = { gen: { noise: 1, seed: 2 } }
    expect(rebaseParams({ from: { gen: { noise: 1 } }, to: {}, current })).toEqual({ gen: { seed: 2 } })
  })

  it('are the same object where there is nothing to do', () => {
    const current = { gen: { noise: 0.5 } }
    expect(rebaseParams({ from: { gen: { noise: 1 } }, to: { gen: { noise: 2 } }, current })).toBe(current)
  })

  it('are exactly those of the other side when only the step has been', () => {
    fc.assert(
      fc.property(params, params, (from, to) => {
        const full = Object.fromEntries(Object.entries(to).filter(([, own]) => Object.keys(own).length > 0))
        const there = rebaseParams({ from, to, current: from })
        for (const [name, own] of Object.entries(full)) expect(there[name]).toEqual(own)
        for (const [name, own] of Object.entries(there)) expect(own).toEqual(to[name] ?? {})
      }),
    )
  })

  it('never touch what the step did not change, or what has been changed since', () => {
    fc.assert(
      fc.property(params, params, params, (from, to, current) => {
        const next = rebaseParams({ from, to, current })
        const names = new Set([...Object.keys(current), ...Object.keys(next)])
        for (const name of names) {
          for (const each of ['noise', 'steps', 'seed']) {
            const [before, after] = [current[name]?.[each], next[name]?.[each]]
            if (JSON.stringify(before) === JSON.stringify(after)) continue
            expect(before).toEqual(from[name]?.[each])
            expect(after).toEqual(to[name]?.[each])
          }
        }
      }),
    )
  })
})
