import { beatMs, type Grid, gridBeats, MAX_BPM, MIN_BPM, type TempoSettings } from '../doc/tempo'

/** Beats from three hands: a number, a tapping finger, a MIDI clock. All take `now`, in milliseconds. */

const clampBpm = (bpm: number) => Math.min(MAX_BPM, Math.max(MIN_BPM, bpm))

/** A steady beat. Whatever changes its rate leaves it where it is. */
export class BeatClock {
  private at = 0
  private position = 0
  private rate: number

  constructor(bpm: number) {
    this.rate = clampBpm(bpm)
  }

  get bpm(): number {
    return this.rate
  }

  /** Beats since the one, with the fraction of the present one. */
  beat(now: number): number {
    return this.position + (now - this.at) / beatMs(this.rate)
  }

  setBpm(bpm: number, now: number): void {
    this.setBeat(this.beat(now), now)
    this.rate = clampBpm(bpm)
  }

  setBeat(position: number, now: number): void {
    this.position = position
    this.at = now
  }

  /** Lets the beat come later, or with a negative time earlier. */
  nudge(ms: number): void {
    this.at += ms
  }
}

/** After so long without a tap somebody begins anew. */
const TAPS_END_MS = 2500
const MAX_TAPS = 16
/** An interval that differs from the median by more than this part of it was a slip. */
const SLIP = 0.25

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const [low = 0, high = low] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]]
  return (low + high) / 2
}

/** The tempo of taps. A slip, a tap too many or one left out, does not change it. */
export class Taps {
  private times: number[] = []

  /** The beats per minute of the taps so far; null until there are three. */
  tap(now: number): number | null {
    const last = this.times.at(-1)
    if (last !== undefined && now - last > TAPS_END_MS) this.times = []
    this.times = [...this.times, now].slice(-MAX_TAPS)
    const gaps = this.times.slice(1).map((time, i) => time - (this.times[i] ?? time))
    if (gaps.length < 2) return null
    const usual = median(gaps)
    const steady = gaps.filter((gap) => Math.abs(gap - usual) <= usual * SLIP)
    const sum = steady.reduce((total, gap) => total + gap, 0)
    return sum > 0 ? clampBpm(beatMs(sum / steady.length)) : null
  }
}

export const TICKS_PER_BEAT = 24
const TICKS_PER_SIXTEENTH = 6
/** The share of a new interval in what is believed. */
const EMA = 0.15
/** A clock that has been silent for so long has ended. */
const SILENT_MS = 500
/** Ticks after which its tempo is believed. */
const ENOUGH_TICKS = 12

const TICK = 0xf8
const START = 0xfa
const CONTINUE = 0xfb
const STOP = 0xfc
const POSITION = 0xf2

/** Follows a MIDI clock: 24 ticks a beat; start, stop, continue and the song position. */
export class MidiClock {
  private interval = 0
  private intervals = 0
  private last = Number.NEGATIVE_INFINITY
  /** Ticks since the one; that at `last` is counted. */
  private ticks = 0
  /** Devices that never say start are playing; so is one whose start was before we listened. */
  private playing = true

  /** True when the message belongs to the clock. */
  message(data: ArrayLike<number>, at: number): boolean {
    switch (data[0]) {
      case TICK:
        this.tick(at)
        return true
      case START:
        this.ticks = -1
        this.playing = true
        return true
      case CONTINUE:
        this.playing = true
        return true
      case STOP:
        this.playing = false
        return true
      case POSITION:
        this.ticks = ((data[1] ?? 0) | ((data[2] ?? 0) << 7)) * TICKS_PER_SIXTEENTH - 1
        return true
      default:
        return false
    }
  }

  /** Whether ticks come, playing or not. */
  heard(now: number): boolean {
    return this.intervals >= ENOUGH_TICKS && now - this.last <= SILENT_MS
  }

  /** The tempo, null while there is none. */
  bpm(now: number): number | null {
    return this.heard(now) ? clampBpm(beatMs(this.interval * TICKS_PER_BEAT)) : null
  }

  /** Beats since the one, null unless it plays. */
  beat(now: number): number | null {
    if (!this.playing || !this.heard(now)) return null
    // A late tick must not be overtaken by much.
    const since = Math.min(Math.max(0, now - this.last) / this.interval, 2)
    return Math.max(0, this.ticks + since) / TICKS_PER_BEAT
  }

  private tick(at: number): void {
    const gap = at - this.last
    this.last = at
    if (this.playing) this.ticks += 1
    if (gap > SILENT_MS) {
      this.intervals = 0
      return
    }
    // A burst of ticks that came late together says nothing of the tempo of one of them, but their sum does.
    this.intervals += 1
    this.interval = this.intervals === 1 ? gap : this.interval + EMA * (gap - this.interval)
  }
}

/** The server's bars have four beats. */
const SERVER_BAR = 4
const SERVER_PERIOD = 4 * SERVER_BAR
/** A boundary nearer than this counts as missed, as it does for the server. */
const TOO_NEAR_BEATS = 0.01

export interface BeatMessage {
  bpm: number
  beat_phase: number
  beat_count: number
  bar_position: number
  is_playing: true
}

/** A beat as the server takes it; whole numbers of its longest period make no difference. */
export function beatMessage(position: number, bpm: number): BeatMessage {
  const positive = Math.max(
    0,
    position < 0 ? position + Math.ceil(-position / SERVER_PERIOD) * SERVER_PERIOD : position,
  )
  const count = Math.floor(positive)
  return {
    bpm,
    beat_phase: positive - count,
    beat_count: count,
    bar_position: positive % SERVER_BAR,
    is_playing: true,
  }
}

/** Beats until the next boundary. */
export function beatsLeft(position: number, length: number): number {
  const left = length - (((position % length) + length) % length)
  return left < TOO_NEAR_BEATS ? left + length : left
}

export interface Waiting {
  message: BeatMessage & { quantize_mode: Grid; _quantized: true }
  beats: number
  /** The message tells another beat than there is: it has to be told again. */
  shifted: boolean
}

/**
 * What a change says besides itself so that it waits for the next boundary of `grid`; null without one. The server counts four
 * beats a bar. For other bars, and to be early, the message tells a beat, and if need be a tempo, with which its longest period ends where
 * our boundary is. `lookaheadMs` before the boundary the change is made.
 */
export function waitFor(
  grid: Grid,
  position: number,
  bpm: number,
  { beatsPerBar, lookaheadMs }: Pick<TempoSettings, 'beatsPerBar' | 'lookaheadMs'>,
): Waiting | null {
  const length = gridBeats(grid, beatsPerBar)
  if (length === null) return null
  const beats = beatsLeft(position + lookaheadMs / beatMs(bpm), length)
  if (lookaheadMs === 0 && (beatsPerBar === SERVER_BAR || grid === 'beat')) {
    const message = { ...beatMessage(position, bpm), quantize_mode: grid, _quantized: true } as const
    return { message, beats, shifted: false }
  }
  const slower = Math.ceil(beats / SERVER_PERIOD)
  const told = beatMessage(SERVER_PERIOD - beats / slower, bpm / slower)
  return { message: { ...told, quantize_mode: '4_bar', _quantized: true }, beats, shifted: true }
}
