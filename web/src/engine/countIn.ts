import { createStore } from 'zustand/vanilla'

export interface CountInDeps {
  now(): number
  after(ms: number, run: () => void): () => void
  /** How long there is to be counted; null for not at all. */
  length(): number | null
}

/** Bars that are counted before the clock of the takes starts, so that it starts on the one. */
export class CountIn {
  readonly store = createStore<{ dueAt: number | null }>(() => ({ dueAt: null }))
  private stop: () => void = () => undefined

  constructor(private readonly deps: CountInDeps) {}

  get counting(): boolean {
    return this.store.getState().dueAt !== null
  }

  /** Runs `then` when it has counted, at once if there is nothing to count; goes on if it counts already. */
  begin(then: () => void): void {
    if (this.counting) return
    const length = this.deps.length()
    if (length === null) {
      then()
      return
    }
    this.store.setState({ dueAt: this.deps.now() + length })
    this.stop = this.deps.after(length, () => {
      this.store.setState({ dueAt: null })
      then()
    })
  }

  cancel(): void {
    this.stop()
    if (this.counting) this.store.setState({ dueAt: null })
  }
}
