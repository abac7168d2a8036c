import { createStore } from 'zustand/vanilla'
import type { Api } from '../api/client'
import type { Render, RendersApi } from '../api/renders'
import type { Asset } from '../api/types'
import { PLAIN_CHAIN } from '../doc/model'
import { type SessionError, SessionFailure, sessionError } from './errors'
import { ensurePipeline, type LoadPlan, matches } from './loading'
import type { Show } from './shows'

/** Has the server make a show again, beside whatever is on air. A rendering outlives its page, and any page watches it. */

export type RenderOutcome =
  | { kind: 'done'; render: Render; film: Asset }
  | { kind: 'failed'; error: SessionError }
  | { kind: 'cancelled' }

export interface RerenderState {
  /** What a show needs is being loaded. */
  preparing: boolean
  /** The one that goes on. */
  render: Render | null
  /** It is to end. */
  ending: boolean
  leftMs: number | null
  /** What came of the last one. */
  outcome: RenderOutcome | null
}

export type RerenderApi = Pick<Api, 'status' | 'load' | 'hasModels' | 'sessions'> & RendersApi

/** A pace is known after this long. */
const PACE_MS = 1000
/** When nothing has been heard for this long, the server is asked: events can get lost. */
const QUIET_MS = 5000

/** What the server has to have loaded for a show. */
export function planFor({ score }: Show): LoadPlan {
  const id = score.pipeline_id ?? ''
  const node = { nodeId: id, pipelineId: id, loadParams: score.load, need: null }
  return { main: id, mode: score.mode, nodes: [node], chain: PLAIN_CHAIN }
}

function outcomeOf(render: Render): RenderOutcome {
  const { state, asset, error } = render
  if (state === 'cancelled') return { kind: 'cancelled' }
  if (state === 'failed') return { kind: 'failed', error: error ?? { code: 'internal', message: '' } }
  return asset ? { kind: 'done', render, film: asset } : { kind: 'failed', error: { code: 'film_gone', message: '' } }
}

const goesOn = ({ state }: Render) => state === 'rendering'

export class Rerender {
  readonly store = createStore<RerenderState>(() => ({
    preparing: false,
    render: null,
    ending: false,
    leftMs: null,
    outcome: null,
  }))
  /** One has come to its end while this page was open. */
  onOutcome: (outcome: RenderOutcome) => void = () => undefined
  private run: AbortController | null = null
  /** The last that has ended: what is heard of it later is old. */
  private ended: string | null = null
  private first = { id: '', frames: 0, at: 0 }
  private quiet: ReturnType<typeof setTimeout> | undefined

  constructor(
    private readonly api: RerenderApi,
    private readonly now: () => number = () => performance.now(),
  ) {}

  get busy(): boolean {
    const { preparing, render } = this.store.getState()
    return preparing || render !== null
  }

  /** Renders a show; over video it needs a `clip`, by its path on the server. Never throws: `store` has what came of it. */
  async render(show: Show, clip: string | null = null): Promise<void> {
    if (this.busy) return
    const run = new AbortController()
    this.run = run
    this.store.setState({ preparing: true, outcome: null })
    try {
      await this.prepare(show, clip, run.signal)
      // Not called off on its way: nobody would know whether it had begun.
      this.heard(await this.api.render(show.text, clip))
      if (run.signal.aborted) this.end()
    } catch (cause) {
      this.settle(run.signal.aborted ? { kind: 'cancelled' } : { kind: 'failed', error: sessionError(cause) })
    }
    this.run = null
    this.store.setState({ preparing: false })
  }

  cancel(): void {
    this.run?.abort()
    this.end()
  }

  /** The server tells how one is, whoever began it. */
  heard(next: Render): void {
    const { render } = this.store.getState()
    if (next.id === this.ended) return
    if (!goesOn(next)) {
      if (render && render.id !== next.id) return
      this.ended = next.id
      this.over(outcomeOf(next))
    } else if (next.id !== render?.id) {
      this.first = { id: next.id, frames: next.frames, at: this.now() }
      this.store.setState({ render: next, ending: false, leftMs: null, outcome: null })
    } else if (next.frames >= render.frames) {
      this.store.setState({ render: next, leftMs: this.left(next) })
    }
    this.listen()
  }

  /** Asks for what was missed: before the page was opened, and while it could hear nothing. */
  async refresh(): Promise<void> {
    const before = this.store.getState()
    const renders = await this.api.renders().catch(() => null)
    if (!renders) return
    const known = renders.find(({ id }) => id === before.render?.id)
    if (known) this.heard(known)
    else if (before.render && before.render.id === this.store.getState().render?.id) {
      this.over({ kind: 'failed', error: { code: 'render_gone', message: '' } })
    }
    const running = renders.find(goesOn)
    if (running) this.heard(running)
    const [newest] = renders
    if (newest && !this.busy && this.store.getState().outcome === before.outcome) this.recall(newest)
  }

  /** What came of the last ones has been read. */
  async forget(): Promise<void> {
    this.store.setState({ outcome: null })
    const renders = await this.api.renders().catch(() => [])
    const over = renders.filter((render) => !goesOn(render))
    await Promise.all(over.map(({ id }) => this.api.endRender(id).catch(() => undefined)))
  }

  /** What came of one is news no more, but still of use. */
  private recall(newest: Render): void {
    const { outcome } = this.store.getState()
    const now = outcomeOf(newest)
    this.ended = newest.id
    if (now.kind === 'done' || newest.error) this.store.setState({ outcome: now })
    else if (outcome?.kind === 'done') this.store.setState({ outcome: null })
  }

  private over(outcome: RenderOutcome): void {
    this.store.setState({ render: null, ending: false, leftMs: null })
    this.settle(outcome)
  }

  private settle(outcome: RenderOutcome): void {
    this.store.setState({ outcome })
    this.onOutcome(outcome)
  }

  private listen(): void {
    clearTimeout(this.quiet)
    if (!this.store.getState().render) return
    this.quiet = setTimeout(() => void this.refresh().then(() => this.listen()), QUIET_MS)
  }

  private end(): void {
    const { render, ending } = this.store.getState()
    if (!render || ending) return
    this.store.setState({ ending: true })
    this.api.endRender(render.id).catch(() => {
      this.store.setState({ ending: false })
      void this.refresh()
    })
  }

  private left({ id, frames, total_frames }: Render): number | null {
    const { first } = this
    const ms = this.now() - first.at
    if (id !== first.id || ms < PACE_MS || frames <= first.frames) return null
    return ((total_frames - frames) * ms) / (frames - first.frames)
  }

  /** Has the server load what the show was made with, unless that would take something away from somebody. */
  private async prepare(show: Show, clip: string | null, run: AbortSignal): Promise<void> {
    const { api } = this
    const { score } = show
    if (!score.pipeline_id || score.frames === 0) throw new SessionFailure('score_without_length', '')
    if (score.mode === 'video' && clip === null) throw new SessionFailure('score_needs_clip', '')
    const [renders, sessions, status] = await Promise.all([api.renders(), api.sessions(), api.status(run)])
    run.throwIfAborted()
    const running = renders.find(goesOn)
    if (running) {
      this.heard(running)
      throw new SessionFailure('render_running', '')
    }
    if (status.status === 'loading') throw new SessionFailure('server_loading', '')
    const plan = planFor(show)
    if (status.status === 'loaded' && matches(status, plan)) return
    if (sessions.length > 0) throw new SessionFailure('other_model', '')
    await ensurePipeline(api, plan, run, { loading: () => undefined, stage: () => undefined })
    run.throwIfAborted()
  }
}
