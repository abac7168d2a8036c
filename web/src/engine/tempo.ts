import { createStore } from 'zustand/vanilla'
import type { Params } from '../api/types'
import { beatMs, type TempoSettings } from '../doc/tempo'
import { BeatClock, beatMessage, beatsLeft, MidiClock, Taps, type Waiting, waitFor } from './beat'

/** The beat of the page: who gives it, where it is, and that the server knows. */

/** The server believes a beat for two seconds. */
export const TELL_MS = 500
/** What somebody changes is told at once, but not more often than this. */
const LEAST_GAP_MS = 100
/** The tempo of a MIDI clock is noted when it has really changed. */
const NOTED_BPM = 0.3

export interface TempoDeps {
  now(): number
  settings(): TempoSettings
  change(change: Partial<TempoSettings>): void
  /** False when nobody can hear it. */
  send(message: Params): boolean
  /** How long a message takes. */
  lagMs(): number
}

export interface TempoState {
  /** A beat is there: tempo is on, and its source plays. */
  beating: boolean
  /** What a MIDI clock does. */
  midi: 'silent' | 'stopped' | 'playing'
}

export class Tempo {
  readonly store = createStore<TempoState>(() => ({ beating: false, midi: 'silent' }))
  /** The beat has been moved against the clock of the takes. */
  onMoved: () => void = () => undefined
  private readonly clock: BeatClock
  private readonly midi = new MidiClock()
  private readonly taps = new Taps()
  private toldAt = Number.NEGATIVE_INFINITY
  /** The first time that tempo is switched on is the one. */
  private begun = false

  constructor(private readonly deps: TempoDeps) {
    this.clock = new BeatClock(deps.settings().bpm)
    this.clock.setBeat(0, deps.now())
    this.watch()
  }

  /** Beats since the one; null while there is no beat. */
  position(now = this.deps.now()): number | null {
    const { on, source } = this.deps.settings()
    if (!on) return null
    return source === 'midi' ? this.midi.beat(now) : this.clock.beat(now)
  }

  bpm(now = this.deps.now()): number {
    const { bpm, source } = this.deps.settings()
    return (source === 'midi' ? this.midi.bpm(now) : null) ?? bpm
  }

  /** What a change says so that it waits; null when it need not. */
  wait(now = this.deps.now()): Waiting | null {
    const settings = this.deps.settings()
    const position = this.ahead(now)
    return position === null ? null : waitFor(settings.quantize, position, this.bpm(now), settings)
  }

  /** Time until a bar begins after `bars` whole ones; null while there is no beat. */
  untilBar(bars: number, now = this.deps.now()): number | null {
    const position = this.position(now)
    const { beatsPerBar } = this.deps.settings()
    return position === null ? null : (beatsLeft(position, beatsPerBar) + bars * beatsPerBar) * beatMs(this.bpm(now))
  }

  setBpm(bpm: number): void {
    const now = this.deps.now()
    this.clock.setBpm(bpm, now)
    this.deps.change({ bpm: Math.round(this.clock.bpm * 100) / 100 })
    this.moved()
  }

  /** A tap is a beat; three of them are a tempo. Answers the tempo once there is one. */
  tap(): number | null {
    const now = this.deps.now()
    const found = this.taps.tap(now)
    this.deps.change({ on: true, source: 'page' })
    if (found !== null) {
      this.clock.setBpm(found, now)
      this.deps.change({ bpm: Math.round(this.clock.bpm * 10) / 10 })
    }
    this.clock.setBeat(Math.round(this.clock.beat(now)), now)
    this.moved()
    return found
  }

  /** Here a bar begins. */
  setOne(): void {
    this.clock.setBeat(0, this.deps.now())
    this.moved()
  }

  nudge(ms: number): void {
    this.clock.nudge(ms)
    this.moved()
  }

  /** A message of a MIDI device; true when it belongs to a clock. */
  midiMessage(data: ArrayLike<number>, at: number): boolean {
    if (!this.midi.message(data, at)) return false
    if (data.length === 1 && data[0] !== 0xf8) this.watch()
    return true
  }

  /** The document has other settings than before. */
  changed(before: TempoSettings): void {
    const { on, bpm, source } = this.deps.settings()
    const now = this.deps.now()
    if (source === 'page' && bpm !== before.bpm && Math.abs(bpm - this.clock.bpm) > 0.06) this.clock.setBpm(bpm, now)
    if (on === before.on && source === before.source) return
    if (on && !this.begun) {
      this.begun = true
      this.clock.setBeat(0, now)
    }
    this.moved()
  }

  /** Says the beat; to be called every `TELL_MS`. */
  tell(now = this.deps.now()): void {
    this.watch(now)
    const position = this.ahead(now)
    if (position === null) return
    if (this.deps.send({ ...beatMessage(position, this.bpm(now)) })) this.toldAt = now
  }

  /** Where the beat will be when a message arrives. */
  private ahead(now: number): number | null {
    const position = this.position(now)
    return position === null ? null : position + this.deps.lagMs() / beatMs(this.bpm(now))
  }

  private moved(): void {
    const now = this.deps.now()
    if (now - this.toldAt >= LEAST_GAP_MS) this.tell(now)
    else this.watch(now)
    this.onMoved()
  }

  /** Notes what has become of the source. */
  private watch(now = this.deps.now()): void {
    const midi = this.midi.beat(now) !== null ? 'playing' : this.midi.heard(now) ? 'stopped' : 'silent'
    const beating = this.position(now) !== null
    const before = this.store.getState()
    if (beating !== before.beating || midi !== before.midi) this.store.setState({ beating, midi })
    const { on, source, bpm } = this.deps.settings()
    const heard = this.midi.bpm(now)
    if (on && source === 'midi' && heard !== null && Math.abs(heard - bpm) >= NOTED_BPM) {
      this.deps.change({ bpm: Math.round(heard * 10) / 10 })
      this.onMoved()
    }
    if (beating !== before.beating && beating) this.onMoved()
  }
}
