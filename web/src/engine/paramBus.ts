import type { Params } from '../api/types'

/** The part of an `RTCDataChannel` the bus needs. */
export interface ParamChannel {
  readonly readyState: RTCDataChannelState
  send(text: string): void
}

export const FLUSH_INTERVAL_MS = 34

/**
 * Sends parameters to the server, for all nodes or for one. A key set often keeps only its last value and leaves at most 30
 * times a second; a message (a take, a pause, a cache reset) leaves at once and in order. While no channel is open
 * everything waits.
 */
export class ParamBus {
  private channel: ParamChannel | null = null
  /** Values that wait, by node; undefined for all nodes. */
  private sticky = new Map<string | undefined, Params>()
  private queue: Params[] = []
  private timer: ReturnType<typeof setTimeout> | null = null
  private lastFlush = Number.NEGATIVE_INFINITY

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** Uses a channel that has opened and sends what waited for it. */
  attach(channel: ParamChannel): void {
    this.channel = channel
    this.flush()
  }

  detach(): void {
    this.channel = null
    this.clearTimer()
  }

  /** Forgets values that a new session's initial parameters carry anyway; messages stay queued. */
  forgetSticky(): void {
    this.sticky.clear()
  }

  /** Forgets everything, at the end of a session. */
  clear(): void {
    this.sticky.clear()
    this.queue = []
    this.clearTimer()
  }

  set(key: string, value: unknown, node?: string): void {
    const values = this.sticky.get(node) ?? {}
    this.sticky.set(node, { ...values, [key]: value })
    this.schedule()
  }

  /** One message, kept whole and in order. Values set before it leave before it. */
  send(message: Params): void {
    this.enqueue()
    this.queue.push(message)
    this.flush()
  }

  get pending(): number {
    return this.queue.length + this.sticky.size
  }

  private schedule(): void {
    if (this.timer !== null || !this.ready) return
    const wait = Math.max(0, this.lastFlush + FLUSH_INTERVAL_MS - this.now())
    this.timer = setTimeout(() => {
      this.timer = null
      this.flush()
    }, wait)
  }

  /** What is sent leaves at once. */
  get ready(): boolean {
    return this.channel?.readyState === 'open'
  }

  private flush(): void {
    if (!this.channel || !this.ready) return
    this.clearTimer()
    this.enqueue()
    const messages = this.queue
    if (messages.length === 0) return
    this.queue = []
    this.lastFlush = this.now()
    for (const message of messages) this.channel.send(JSON.stringify(message))
  }

  private enqueue(): void {
    for (const [node, values] of this.sticky) {
      this.queue.push(node === undefined ? values : { node_id: node, ...values })
    }
    this.sticky.clear()
  }

  private clearTimer(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
  }
}
