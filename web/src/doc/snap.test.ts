import { expect, it } from 'vitest'
import { freeNumber, loopOver, moveLoopEnd } from './markers'
import { snap, snapDelta } from './snap'

const magnets = { times: [4030, 9000], gridMs: 1000, toleranceMs: 80 }

it('draws to edges first, then to whole seconds, else leaves the time', () => {
  expect(snap(4010, magnets)).toEqual({ ms: 4030, to: 4030 })
  expect(snap(7040, magnets)).toEqual({ ms: 7000, to: 7000 })
  expect(snap(7400.4, magnets)).toEqual({ ms: 7400, to: null })
})

it('draws a move to the magnet that any edge is nearest to', () => {
  expect(snapDelta([0, 3000], 990, magnets)).toEqual({ ms: 1000, to: 1000 })
  expect(snapDelta([0, 3000], 1025, magnets)).toEqual({ ms: 1030, to: 4030 })
  expect(snapDelta([0], 500, magnets)).toEqual({ ms: 500, to: null })
})

it('draws to the beats of a grid that begins anywhere', () => {
  const beats = { times: [], gridMs: 60_000 / 130, fromMs: -123.4, toleranceMs: 80 }
  // The seventh beat is at -123.4 + 7 · 461.54.
  expect(snap(3100, beats)).toEqual({ ms: 3107, to: 3107 })
  expect(snap(3300, beats)).toEqual({ ms: 3300, to: null })
  expect(snap(0, { ...beats, fromMs: -20 })).toEqual({ ms: 0, to: 0 })
})

it('does not let a fine grid swallow every time', () => {
  expect(snap(520, { times: [], gridMs: 1000, toleranceMs: 2000 }).to).toBeNull()
})

it('makes loops that run forward and never lose their length', () => {
  expect(loopOver(9000.4, 3000)).toEqual({ inMs: 3000, outMs: 9000, on: true })
  expect(moveLoopEnd(loopOver(1000, 2000), 'in', 5000).inMs).toBe(1900)
  expect(moveLoopEnd(loopOver(1000, 2000), 'out', 0).outMs).toBe(1100)
})

it('numbers markers with the first number that is free', () => {
  const markers = ['1', 'drop', '3'].map((label, i) => ({ id: label, atMs: i, label }))
  expect(freeNumber(markers)).toBe(2)
})
