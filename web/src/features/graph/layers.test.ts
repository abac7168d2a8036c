import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type Line, layersOf, spotsOf } from './layers'

const line = (from: string, to: string, values = false): Line => ({ from, to, values })

it('puts a chain into a row, and what gives it values right before what takes them', () => {
  const lines = [line('in', 'a'), line('a', 'b'), line('b', 'out'), line('prompt', 'b', true)]
  const spots = spotsOf(['prompt', 'in', 'a', 'b', 'out'], lines)
  expect(Object.fromEntries(spots)).toEqual({
    in: { layer: 0, row: 0 },
    a: { layer: 1, row: 0 },
    prompt: { layer: 1, row: 1 },
    b: { layer: 2, row: 0 },
    out: { layer: 3, row: 0 },
  })
})

const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
const pair = fc.record({ from: fc.nat(ids.length - 1), to: fc.nat(ids.length - 1), values: fc.boolean() })
const named = ({ from, to, values }: { from: number; to: number; values: boolean }) =>
  line(ids[from] ?? '', ids[to] ?? '', values)

it('leads every line forward, unless lines lead in a circle', () => {
  const forward = fc.array(pair.filter(({ from, to }) => from < to))
  fc.assert(
    fc.property(forward, (pairs) => {
      const lines = pairs.map(named)
      const layers = layersOf(ids, lines)
      for (const { from, to } of lines) expect(layers.get(from)).toBeLessThan(layers.get(to) ?? 0)
    }),
  )
})

it('gives every node a place of its own, whatever the lines are', () => {
  fc.assert(
    fc.property(fc.array(pair), (pairs) => {
      const lines = [...pairs.map(named), line('a', 'nowhere'), line('nowhere', 'b')]
      const spots = [...spotsOf(ids, lines).values()].map(({ layer, row }) => `${layer} ${row}`)
      expect(new Set(spots).size).toBe(ids.length)
    }),
  )
})
