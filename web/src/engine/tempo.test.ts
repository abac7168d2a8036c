import { beforeEach, describe, expect, it } from 'vitest'
import type { Params } from '../api/types'
import { type TempoSettings, USUAL_TEMPO } from '../doc/tempo'
import { TELL_MS, Tempo } from './tempo'

let now: number
let settings: TempoSettings
let sent: { at: number; message: Params }[]
let reachable: boolean
let lag: number
let tempo: Tempo

beforeEach(() => {
  now = 1000
  settings = { ...USUAL_TEMPO, on: true }
  sent = []
  reachable = true
  lag = 0
  tempo = new Tempo({
    now: () => now,
    settings: () => settings,
    change: (change) => {
      const before = settings
      settings = { ...settings, ...change }
      tempo.changed(before)
    },
    send: (message) => {
      if (reachable) sent.push({ at: now, message })
      return reachable
    },
    lagMs: () => lag,
  })
})

/** Lets time pass as the page does. */
function pass(ms: number, step = 50): void {
  for (let t = 0; t < ms; t += step) {
    now += step
    if (now % TELL_MS === 0) tempo.tell()
  }
}

const told = ({ message }: { message: Params }) => Number(message.beat_count) + Number(message.beat_phase)

it('tells the beat twice a second, exactly where it is', () => {
  pass(10_000)
  expect(sent.length).toBe(20)
  for (const { at, message } of sent) expect(told({ message })).toBeCloseTo(((at - 1000) * 120) / 60_000, 6)
})

it('tells it ahead by the time that a message takes', () => {
  lag = 25
  pass(500)
  expect(sent.map(told)).toEqual([expect.closeTo(1.05, 6)])
})

it('is silent while it is off, and while nobody listens', () => {
  settings = { ...settings, on: false }
  pass(2000)
  expect(sent).toEqual([])
  expect(tempo.position()).toBeNull()
  settings = { ...settings, on: true }
  reachable = false
  pass(2000)
  expect(sent).toEqual([])
})

it('never floods, however much is turned', () => {
  for (let i = 0; i < 400; i++) {
    now += 5
    tempo.setBpm(100 + i / 10)
    if (now % TELL_MS === 0) tempo.tell()
  }
  expect(sent.length).toBeLessThanOrEqual(2000 / 100 + 4)
  expect(settings.bpm).toBe(139.9)
})

it('a change of tempo in the document keeps the beat', () => {
  pass(750)
  const before = tempo.position()
  const old = settings
  settings = { ...settings, bpm: 60 }
  tempo.changed(old)
  expect(tempo.position()).toBeCloseTo(before ?? -1, 6)
  pass(1000)
  expect(tempo.position()).toBeCloseTo((before ?? 0) + 1, 6)
})

describe('tapping', () => {
  it('switches tempo on and puts the beat under the finger', () => {
    settings = { ...settings, on: false }
    const found = [0, 400, 800, 1200].map((at) => {
      now = 20_000 + at
      return tempo.tap()
    })
    expect(found).toEqual([null, null, 150, 150])
    expect(settings).toMatchObject({ on: true, bpm: 150, source: 'page' })
    expect((tempo.position() ?? 0.5) % 1).toBeCloseTo(0, 6)
    now += 200
    expect((tempo.position() ?? 0) % 1).toBeCloseTo(0.5, 6)
  })

  it('and the one, and nudges, move the beat and not the tempo', () => {
    pass(1300)
    tempo.setOne()
    expect(tempo.position()).toBe(0)
    tempo.nudge(50)
    expect(tempo.position()).toBeCloseTo(-0.1, 6)
    expect(settings.bpm).toBe(120)
  })
})

it('waits for the bar that is next', () => {
  settings = { ...settings, quantize: 'bar', beatsPerBar: 3 }
  pass(1000)
  expect(tempo.position()).toBeCloseTo(2, 6)
  expect(tempo.wait()?.beats).toBeCloseTo(1, 6)
  expect(tempo.untilBar(1)).toBeCloseTo(2000, 3)
  settings = { ...settings, on: false }
  expect(tempo.wait()).toBeNull()
})

describe('behind a MIDI clock', () => {
  const ticks = (bpm: number, count: number) => {
    for (let i = 0; i < count; i++) {
      now += 60_000 / bpm / 24
      tempo.midiMessage([0xf8], now)
      if (i % 12 === 0) tempo.tell()
    }
  }
  beforeEach(() => {
    settings = { ...settings, source: 'midi' }
  })

  it('there is no beat before it plays, and none after it has stopped', () => {
    tempo.tell()
    expect(sent).toEqual([])
    expect(tempo.store.getState()).toEqual({ beating: false, midi: 'silent' })
    tempo.midiMessage([0xfa], now)
    ticks(90, 49)
    expect(tempo.position()).toBeCloseTo(2, 3)
    expect(settings.bpm).toBe(90)
    expect(tempo.store.getState()).toEqual({ beating: true, midi: 'playing' })
    expect(sent.length).toBeGreaterThan(0)
    tempo.midiMessage([0xfc], now)
    expect(tempo.store.getState()).toEqual({ beating: false, midi: 'stopped' })
    const { length } = sent
    ticks(90, 24)
    expect(sent.length).toBe(length)
  })

  it('a tap takes the beat back', () => {
    ticks(90, 49)
    tempo.tap()
    expect(settings.source).toBe('page')
    expect(tempo.position()).not.toBeNull()
  })
})
