import type { Params } from '../api/types'
import { deepEqual } from '../doc/equal'
import type { ProjectDoc } from '../doc/model'
import { originFor, setTempo } from '../doc/tempo'
import type { Take } from '../doc/timeline'
import type { ChainNode } from './chain'
import { CountIn } from './countIn'
import { tempoParameters } from './modulation'
import type { ParamBus } from './paramBus'
import { Quantiser } from './quantiser'
import { TELL_MS, Tempo } from './tempo'

interface MusicDeps {
  bus: ParamBus
  doc(): ProjectDoc
  change(change: (doc: ProjectDoc) => ProjectDoc): void
  chain(): readonly ChainNode[]
  /** The clock of the takes: its time, and whether it runs. */
  clock(): { ms: number; running: boolean }
  /** The network's round trip, null while it is not known. */
  roundTripMs(): number | null
}

/** An origin that differs by less is the same. */
const SAME_ORIGIN_MS = 1

/** Musical time, and what the server and the timeline have to know of it. */
export class Music {
  readonly tempo: Tempo
  readonly quantiser = new Quantiser()
  readonly countIn: CountIn
  /** The session has ended while a take waited. */
  onLost: () => void = () => undefined
  private readonly now = () => performance.now()

  constructor(private readonly deps: MusicDeps) {
    this.tempo = new Tempo({
      now: this.now,
      settings: () => deps.doc().tempo,
      change: (change) => deps.change(setTempo(change)),
      send: (message) => {
        if (!deps.bus.ready) return false
        deps.bus.send(message)
        return true
      },
      lagMs: () => (deps.roundTripMs() ?? 0) / 2,
    })
    this.tempo.onMoved = () => this.align()
    this.countIn = new CountIn({
      now: this.now,
      after: (ms, run) => {
        const timer = setTimeout(run, ms)
        return () => clearTimeout(timer)
      },
      length: () => {
        const { countIn } = deps.doc().tempo
        return countIn > 0 ? this.tempo.untilBar(countIn) : null
      },
    })
    setInterval(() => this.tempo.tell(), TELL_MS)
  }

  /** Sends a take so that it waits for its beat; false when there is none to wait for. */
  hold(take: Take, message: () => Params): boolean {
    const waiting = this.tempo.wait()
    if (!waiting) {
      this.cancelTake()
      return false
    }
    // The server would report it as applied with the first picture of anything newer.
    const { _id, ...change } = message()
    this.deps.bus.send({ ...change, ...waiting.message })
    this.quantiser.tell(take, this.deps.doc().tempo.quantize)
    if (waiting.shifted) this.tempo.tell()
    return true
  }

  /** Takes a take back that waits. */
  cancelTake(): void {
    if (!this.quantiser.waiting) return
    this.quantiser.cancel()
    // Naming the grid, whatever it is, makes the server forget what waits.
    this.deps.bus.send({ quantize_mode: this.deps.doc().tempo.quantize })
  }

  /** The take that a message of the server puts on air, null for any other message. */
  receive(message: Params): Take | null {
    const now = this.now()
    if (message.type === 'change_scheduled') this.quantiser.scheduled(Number(message.delay_ms) || 0, now)
    return message.type === 'change_applied' ? this.quantiser.applied(now) : null
  }

  /** The document has changed; a stream that runs hears of it. */
  docChanged(next: ProjectDoc, before: ProjectDoc): void {
    if (next.tempo !== before.tempo) this.tempo.changed(before.tempo)
    if (next.tempo === before.tempo && next.modulations === before.modulations) return
    const { on, quantize } = next.tempo
    if (!on || quantize !== before.tempo.quantize) this.cancelTake()
    const chain = this.deps.chain()
    const [told, known] = [tempoParameters(next, chain), tempoParameters(before, chain)]
    for (const [key, value] of Object.entries(told)) {
      if (!deepEqual(value, known[key]) && this.deps.bus.ready) this.deps.bus.set(key, value)
    }
  }

  /** No stream runs any more. */
  ended(): void {
    this.countIn.cancel()
    if (this.quantiser.waiting) this.onLost()
    this.quantiser.clear()
  }

  /** Brings the bars of the timeline in line with those of the music. */
  align(): void {
    const { ms, running } = this.deps.clock()
    const position = this.tempo.position()
    if (!running || position === null) return
    const { tempo } = this.deps.doc()
    const originMs = originFor(ms, position, tempo)
    const bar = (60_000 / tempo.bpm) * tempo.beatsPerBar
    const apart = Math.abs(originMs - tempo.originMs)
    if (Math.min(apart, Math.abs(apart - bar)) > SAME_ORIGIN_MS) this.deps.change(setTempo({ originMs }))
  }
}
