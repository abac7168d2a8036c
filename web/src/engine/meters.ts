import type { ServerMetrics } from '../api/types'
import type { Latency } from './latency'

/** What the receiver's own statistics say, once a second. Unknown values are null. */
export interface NetStats {
  bitrateBps: number | null
  lossPercent: number | null
  jitterMs: number | null
  rttMs: number | null
  delayMs: number | null
  decoded: number | null
  dropped: number | null
  freezes: number | null
  width: number | null
  height: number | null
  codec: string | null
  path: string | null
  sentFps: number | null
  sentBps: number | null
  sentWidth: number | null
  sentHeight: number | null
}

export const NO_STATS: NetStats = {
  bitrateBps: null,
  lossPercent: null,
  jitterMs: null,
  rttMs: null,
  delayMs: null,
  decoded: null,
  dropped: null,
  freezes: null,
  width: null,
  height: null,
  codec: null,
  path: null,
  sentFps: null,
  sentBps: null,
  sentWidth: null,
  sentHeight: null,
}

const HISTORY = 60

/** Numbers that change many times a second. They are painted straight into the page, never through React state. */
export class Meters {
  fps = 0
  readonly fpsHistory: number[] = []
  latency: Latency | null = null
  latencyP95: number | null = null
  net: NetStats = NO_STATS
  server: ServerMetrics | null = null
  serverAt = Number.NEGATIVE_INFINITY
  private readonly painters = new Set<(meters: Meters) => void>()

  /** Calls `painter` now and after every change (about twice a second). */
  subscribe(painter: (meters: Meters) => void): () => void {
    this.painters.add(painter)
    painter(this)
    return () => this.painters.delete(painter)
  }

  paint(): void {
    for (const painter of this.painters) painter(this)
  }

  pushFps(fps: number): void {
    this.fpsHistory.push(fps)
    if (this.fpsHistory.length > HISTORY) this.fpsHistory.shift()
  }

  /** Nothing stale stays on show after a session. */
  reset(): void {
    this.fps = 0
    this.fpsHistory.length = 0
    this.latency = null
    this.net = NO_STATS
    this.server = null
    this.paint()
  }
}
