/** Time from a take to the first frame on screen that shows it. */

export interface Latency {
  ms: number
  /** True when the frame could not be identified and the arrival of the acknowledgement stands in for it. */
  estimated: boolean
}

interface Presented {
  rtp: number
  at: number
}

const REMEMBERED_FRAMES = 240
const MATCH_TIMEOUT_MS = 3000
const FORGET_MS = 60_000

/** Whether RTP timestamp `a` is at or after `b`, both modulo 2^32. */
export function rtpAtOrAfter(a: number, b: number): boolean {
  return ((a - b) | 0) >= 0
}

export class LatencyTracker {
  private readonly sent = new Map<string, number>()
  private frames: Presented[] = []
  private waiting: { id: string; rtp: number; appliedAt: number }[] = []
  private readonly history: number[] = []

  constructor(private readonly report: (latency: Latency) => void) {}

  taken(id: string, at: number): void {
    for (const [old, time] of this.sent) if (at - time > FORGET_MS) this.sent.delete(old)
    this.sent.set(id, at)
  }

  /** The server handed the first influenced frame to its encoder. */
  applied(id: string, rtp: number | null, at: number): void {
    if (!this.sent.has(id)) return
    if (rtp === null) {
      this.finish(id, at, true)
      return
    }
    const early = this.frames.find((frame) => rtpAtOrAfter(frame.rtp, rtp))
    if (early) this.finish(id, Math.max(early.at, this.sent.get(id) ?? early.at), false)
    else this.waiting.push({ id, rtp, appliedAt: at })
  }

  /** A frame was presented; `rtp` is missing where the browser does not report it. */
  presented(rtp: number | undefined, at: number): void {
    if (rtp !== undefined) {
      this.frames.push({ rtp, at })
      if (this.frames.length > REMEMBERED_FRAMES) this.frames.shift()
    }
    this.waiting = this.waiting.filter((entry) => {
      if (rtp !== undefined && rtpAtOrAfter(rtp, entry.rtp)) {
        this.finish(entry.id, at, false)
        return false
      }
      if (at - entry.appliedAt > MATCH_TIMEOUT_MS) {
        this.finish(entry.id, entry.appliedAt, true)
        return false
      }
      return true
    })
  }

  /** A new stream has its own RTP clock. */
  reset(): void {
    this.frames = []
    this.waiting = []
    this.sent.clear()
  }

  /** The 95th percentile of what was measured, null before the first measurement. */
  p95(): number | null {
    if (this.history.length === 0) return null
    const sorted = [...this.history].sort((a, b) => a - b)
    return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * 0.95) - 1)] ?? null
  }

  private finish(id: string, at: number, estimated: boolean): void {
    const start = this.sent.get(id)
    this.sent.delete(id)
    if (start === undefined) return
    const ms = Math.max(0, at - start)
    this.history.push(ms)
    if (this.history.length > 200) this.history.shift()
    this.report({ ms, estimated })
  }
}
