import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GRIDS, gridBeats } from '../doc/tempo'
import { BeatClock, beatMessage, beatsLeft, MidiClock, Taps, TICKS_PER_BEAT, waitFor } from './beat'

const bpms = fc.double({ min: 20, max: 300, noNaN: true })

describe('the steady beat', () => {
  it('keeps its place through any change of tempo, and moves by nudges alone', () => {
    const steps = fc.array(fc.record({ bpm: bpms, after: fc.integer({ min: 0, max: 60_000 }) }), { maxLength: 20 })
    fc.assert(
      fc.property(steps, fc.integer({ min: -500, max: 500 }), (changes, ms) => {
        const clock = new BeatClock(120)
        let [now, beats] = [0, 0]
        for (const { bpm, after } of changes) {
          beats += (after / 60_000) * clock.bpm
          now += after
          clock.setBpm(bpm, now)
          expect(clock.beat(now)).toBeCloseTo(beats, 6)
        }
        clock.nudge(ms)
        expect(clock.beat(now + ms)).toBeCloseTo(beats, 6)
      }),
    )
  })

  it('knows no tempo outside of 20 to 300', () => {
    const clock = new BeatClock(1)
    expect(clock.bpm).toBe(20)
    clock.setBpm(1000, 0)
    expect(clock.bpm).toBe(300)
  })
})

describe('taps', () => {
  const tapAll = (times: readonly number[]) => {
    const taps = new Taps()
    return times.map((time) => taps.tap(time)).at(-1) ?? null
  }

  it('are a tempo from the third on', () => {
    expect(tapAll([0, 500])).toBeNull()
    expect(tapAll([0, 500, 1000])).toBe(120)
  })

  it('find the tempo of an unsteady hand that slips once', () => {
    const hand = fc.record({
      bpm: fc.double({ min: 60, max: 220, noNaN: true }),
      jitter: fc.array(fc.double({ min: -0.03, max: 0.03, noNaN: true }), { minLength: 9, maxLength: 14 }),
      slip: fc.constantFrom('none', 'extra', 'missing'),
      at: fc.integer({ min: 2, max: 6 }),
    })
    fc.assert(
      fc.property(hand, ({ bpm, jitter, slip, at }) => {
        const beat = 60_000 / bpm
        let times = jitter.map((part, i) => 10_000 + (i + part) * beat)
        if (slip === 'missing') times = times.filter((_, i) => i !== at)
        if (slip === 'extra') times = [...times, 10_000 + (at + 0.4) * beat].sort((a, b) => a - b)
        expect(Math.abs((tapAll(times) ?? 0) / bpm - 1)).toBeLessThan(0.03)
      }),
    )
  })

  it('begin anew after a pause', () => {
    const slow = [0, 1000, 2000, 3000]
    const fast = [10_000, 10_400, 10_800]
    expect(tapAll([...slow, ...fast])).toBeCloseTo(150)
    expect(tapAll([...slow, 10_000])).toBeNull()
  })
})

describe('a MIDI clock', () => {
  /** Ticks from `from` on; gives the time after the last. */
  const play = (clock: MidiClock, bpm: number, ticks: number, from = 0, jitter: readonly number[] = []) => {
    const gap = 60_000 / bpm / TICKS_PER_BEAT
    for (let i = 0; i < ticks; i++) clock.message([0xf8], from + i * gap + (jitter[i % jitter.length] ?? 0))
    return from + (ticks - 1) * gap
  }

  it('is followed at any tempo, with ticks up to a millisecond late', () => {
    const late = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 7, maxLength: 31 })
    fc.assert(
      fc.property(bpms, late, (bpm, jitter) => {
        const clock = new MidiClock()
        clock.message([0xfa], 0)
        const now = play(clock, bpm, 10 * TICKS_PER_BEAT + 1, 0, jitter)
        // At 300 a tick is 8 ms long.
        expect(Math.abs((clock.bpm(now + 1) ?? 0) / bpm - 1)).toBeLessThan(0.06)
        expect(Math.abs((clock.beat(now) ?? 0) - 10)).toBeLessThan(0.01)
      }),
    )
  })

  it('starts at the one, stands while stopped, and goes on where it was', () => {
    const clock = new MidiClock()
    let now = play(clock, 120, 30)
    clock.message([0xfa], now + 1)
    now = play(clock, 120, 49, now + 20)
    expect(clock.beat(now)).toBeCloseTo(2, 3)
    clock.message([0xfc], now)
    expect(clock.beat(now)).toBeNull()
    now = play(clock, 120, 10, now + 20)
    expect(clock.beat(now)).toBeNull()
    expect(clock.bpm(now)).toBeCloseTo(120, 0)
    clock.message([0xfb], now)
    now = play(clock, 120, 24, now + 20)
    expect(clock.beat(now)).toBeCloseTo(3, 3)
  })

  it('takes the song position', () => {
    const clock = new MidiClock()
    let now = play(clock, 120, 30)
    clock.message([0xfc], now)
    clock.message([0xf2, 8, 0], now)
    clock.message([0xfb], now)
    now = play(clock, 120, 1, now + 20)
    expect(clock.beat(now)).toBeCloseTo(2, 3)
  })

  it('plays without a start, and ends when it falls silent', () => {
    const clock = new MidiClock()
    const now = play(clock, 90, 40)
    expect(clock.bpm(now)).toBeCloseTo(90, 3)
    expect(clock.beat(now)).not.toBeNull()
    expect(clock.beat(now + 600)).toBeNull()
    expect(clock.bpm(now + 600)).toBeNull()
  })

  it('leaves other messages alone', () => {
    expect(new MidiClock().message([0x90, 60, 100], 0)).toBe(false)
  })
})

/** What the server makes of a message: how long a change waits, in milliseconds. */
function serverDelay({ bpm, beat_count, beat_phase, quantize_mode }: Record<string, unknown>): number {
  const length = { beat: 1, bar: 4, '2_bar': 8, '4_bar': 16 }[String(quantize_mode)] ?? 0
  const position = Number(beat_count) + Number(beat_phase)
  let beats = length - (position % length)
  if (beats < 0.01) beats += length
  return (beats * 60_000) / Number(bpm)
}

describe('what waits', () => {
  const places = fc.record({
    position: fc.double({ min: -200, max: 5000, noNaN: true }),
    bpm: bpms,
    beatsPerBar: fc.integer({ min: 1, max: 16 }),
    lookaheadMs: fc.constantFrom(0, 35, 450, 5000),
    grid: fc.constantFrom(...GRIDS.filter((grid) => grid !== 'none')),
  })

  it('lands on a boundary of ours, whatever bars there are', () => {
    fc.assert(
      fc.property(places, ({ position, bpm, beatsPerBar, lookaheadMs, grid }) => {
        const length = gridBeats(grid, beatsPerBar) ?? 0
        const wait = waitFor(grid, position, bpm, { beatsPerBar, lookaheadMs })
        if (!wait) throw new Error('nothing waits')
        // The take is early by so much: what lands is the picture.
        const early = (lookaheadMs / 60_000) * bpm
        const landed = position + early + (serverDelay({ ...wait.message }) / 60_000) * bpm
        const off = ((landed % length) + length) % length
        expect(Math.min(off, length - off)).toBeLessThan(1e-6)
        expect(wait.beats).toBeCloseTo(landed - early - position, 6)
        expect(wait.beats).toBeLessThan(length + 0.011)
        const { beat_count, beat_phase } = wait.message
        expect(Number.isInteger(beat_count) && beat_count >= 0 && beat_phase >= 0 && beat_phase < 1).toBe(true)
        expect(wait.message.bpm).toBeGreaterThanOrEqual(1)
      }),
      { numRuns: 1000 },
    )
  })

  const fours = { beatsPerBar: 4, lookaheadMs: 0 }

  it('tells the true beat where the server knows the bars', () => {
    expect(waitFor('bar', 5.25, 120, fours)).toMatchObject({
      beats: 2.75,
      shifted: false,
      message: { bpm: 120, beat_count: 5, beat_phase: 0.25, quantize_mode: 'bar', _quantized: true },
    })
    expect(waitFor('bar', 5.25, 120, { ...fours, beatsPerBar: 3 })).toMatchObject({ beats: 0.75, shifted: true })
    expect(waitFor('none', 5.25, 120, fours)).toBeNull()
  })

  it('takes a boundary that is almost there as missed', () => {
    expect(beatsLeft(3.995, 4)).toBeCloseTo(4.005)
    expect(beatsLeft(4, 4)).toBe(4)
    expect(beatsLeft(-0.5, 4)).toBe(0.5)
  })

  it('is never told with a beat before zero', () => {
    expect(beatMessage(-0.25, 100)).toEqual({
      bpm: 100,
      beat_phase: 0.75,
      beat_count: 15,
      bar_position: 3.75,
      is_playing: true,
    })
  })
})
