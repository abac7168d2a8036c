import { createStore } from 'zustand/vanilla'
import type { Grid } from '../doc/tempo'
import type { Take } from '../doc/timeline'

export interface WaitingTake {
  take: Take
  grid: Grid
  /** When the server will apply it, null until it has said so. */
  dueAt: number | null
}

/** The server never applies a change before its time; what it reports earlier is another one. */
const EARLY_MS = 20

/**
 * The take that waits for its beat. A new one replaces it. The server answers each take at once, with the time that it will
 * wait, and reports when it has been applied; only then is it on air. A report that crosses a cancellation on its way is true.
 */
export class Quantiser {
  readonly store = createStore<{ waiting: WaitingTake | null }>(() => ({ waiting: null }))
  /** Told, and not answered. */
  private told: WaitingTake[] = []
  private due: WaitingTake | null = null
  /** What was replaced or cancelled last, and may have been applied all the same. */
  private before: WaitingTake | null = null

  get waiting(): WaitingTake | null {
    return this.store.getState().waiting
  }

  tell(take: Take, grid: Grid): void {
    this.told.push({ take, grid, dueAt: null })
    this.publish()
  }

  scheduled(delayMs: number, now: number): void {
    const next = this.told.shift()
    if (!next) return
    this.before = this.due ?? this.before
    this.due = { ...next, dueAt: now + delayMs }
    this.publish()
  }

  /** The take that is on air from now on, null when the report belongs to none. */
  applied(now: number): Take | null {
    const { due, before } = this
    if (due && now >= (due.dueAt ?? now) - EARLY_MS) {
      this.due = null
      this.before = null
      this.publish()
      return due.take
    }
    this.before = null
    if (before) return before.take
    const next = this.told.shift() ?? null
    this.publish()
    return next?.take ?? null
  }

  cancel(): void {
    this.before = this.due
    this.due = null
    this.told = []
    this.publish()
  }

  /** The session has ended, and what waited with it. */
  clear(): void {
    this.cancel()
    this.before = null
  }

  private publish(): void {
    const waiting = this.told.at(-1) ?? this.due
    if (waiting !== this.waiting) this.store.setState({ waiting })
  }
}
