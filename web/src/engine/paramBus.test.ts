import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { ParamBus, type ParamChannel } from './paramBus'

let sent: Record<string, unknown>[]
let channel: ParamChannel & { readyState: RTCDataChannelState }

beforeEach(() => {
  vi.useFakeTimers()
  sent = []
  channel = { readyState: 'open', send: (text) => sent.push(JSON.parse(text)) }
})
afterEach(() => vi.useRealTimers())

const bus = () => new ParamBus(() => Date.now())

it('keeps the last value of a key and stays under 30 messages a second', () => {
  const params = bus()
  params.attach(channel)
  for (let i = 0; i < 500; i++) {
    params.set('noise_scale', i)
    vi.advanceTimersByTime(2)
  }
  vi.advanceTimersByTime(100)
  expect(sent.length).toBeLessThanOrEqual(31)
  expect(sent.length).toBeGreaterThan(20)
  expect(sent.at(-1)).toEqual({ noise_scale: 499 })
})

it('merges different keys into one message', () => {
  const params = bus()
  params.attach(channel)
  params.set('a', 1)
  params.set('b', 2)
  vi.advanceTimersByTime(50)
  expect(sent).toEqual([{ a: 1, b: 2 }])
})

it('sends messages at once, in order, after the values set before them', () => {
  const params = bus()
  params.attach(channel)
  params.set('noise_scale', 0.1)
  params.send({ reset_cache: true })
  params.send({ paused: true })
  expect(sent).toEqual([{ noise_scale: 0.1 }, { reset_cache: true }, { paused: true }])
})

it('drops nothing while the channel is closed', () => {
  const params = bus()
  params.set('a', 1)
  params.send({ one: 1 })
  params.set('a', 2)
  params.set('a', 3)
  vi.advanceTimersByTime(1000)
  expect(sent).toEqual([])
  params.attach(channel)
  expect(sent).toEqual([{ a: 1 }, { one: 1 }, { a: 3 }])
})

it('keeps queued messages but not values when a new session carries the values itself', () => {
  const params = bus()
  params.send({ one: 1 })
  params.set('a', 1)
  params.forgetSticky()
  params.attach(channel)
  expect(sent).toEqual([{ one: 1 }])
})

it('waits while the channel is not open any more', () => {
  const params = bus()
  params.attach(channel)
  channel.readyState = 'closing'
  params.send({ one: 1 })
  expect(sent).toEqual([])
  expect(params.pending).toBe(1)
})

it('addresses values to their nodes, one message each', () => {
  const params = bus()
  params.attach(channel)
  params.set('hue', 10, 'after:color')
  params.set('noise', 1)
  params.set('hue', 20, 'after:color')
  params.set('hue', 5, 'before:color')
  vi.advanceTimersByTime(50)
  expect(sent).toEqual([{ node_id: 'after:color', hue: 20 }, { noise: 1 }, { node_id: 'before:color', hue: 5 }])
})
