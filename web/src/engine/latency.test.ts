import { beforeEach, expect, it } from 'vitest'
import { type Latency, LatencyTracker, rtpAtOrAfter } from './latency'

let reports: Latency[]
let tracker: LatencyTracker

beforeEach(() => {
  reports = []
  tracker = new LatencyTracker((latency) => reports.push(latency))
})

it('measures to the first presented frame at or after the applied one', () => {
  tracker.taken('a', 1000)
  tracker.applied('a', 5000, 1400)
  tracker.presented(4000, 1450)
  expect(reports).toEqual([])
  tracker.presented(5000, 1500)
  expect(reports).toEqual([{ ms: 500, estimated: false }])
})

it('uses a frame that was shown before the acknowledgement came', () => {
  tracker.taken('a', 1000)
  tracker.presented(8000, 1300)
  tracker.presented(9000, 1400)
  tracker.applied('a', 8000, 1450)
  expect(reports).toEqual([{ ms: 300, estimated: false }])
})

it('labels an estimate when frames carry no timestamp, or none matches in time', () => {
  tracker.taken('a', 0)
  tracker.applied('a', null, 700)
  tracker.taken('b', 1000)
  tracker.applied('b', 5000, 1600)
  tracker.presented(undefined, 2000)
  tracker.presented(undefined, 5000)
  expect(reports).toEqual([
    { ms: 700, estimated: true },
    { ms: 600, estimated: true },
  ])
})

it('ignores acknowledgements it did not ask for', () => {
  tracker.applied('stranger', 1, 10)
  tracker.presented(2, 20)
  expect(reports).toEqual([])
})

it('compares timestamps across the 32-bit wrap', () => {
  expect(rtpAtOrAfter(10, 0xffffff00)).toBe(true)
  expect(rtpAtOrAfter(0xffffff00, 10)).toBe(false)
})
