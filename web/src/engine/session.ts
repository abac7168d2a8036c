import { createStore } from 'zustand/vanilla'
import type { LoadRequest, ModelNeed } from '../api/client'
import type { Health, Params, PipelineStatus } from '../api/types'
import { codeFromText, needsPerson, type SessionError, SessionFailure, sessionError } from './errors'
import { Link, type LinkApi, type PeerFactory } from './link'
import { ensurePipeline, type LoadPlan } from './loading'
import type { ParamBus } from './paramBus'
import { aborted, sleep, within } from './timing'

export type SessionState =
  | 'idle'
  | 'checking'
  | 'loading'
  | 'connecting'
  | 'waiting'
  | 'live'
  | 'paused'
  | 'stalled'
  | 'reconnecting'
  | 'stopping'
  | 'failed'

export interface StartPlan extends LoadPlan {
  initialParameters: Params
  track: MediaStreamTrack | null
}

export interface SessionApi extends LinkApi {
  health(timeoutMs?: number, signal?: AbortSignal): Promise<Health>
  status(signal?: AbortSignal): Promise<PipelineStatus>
  load(requests: readonly LoadRequest[], signal?: AbortSignal): Promise<void>
  hasModels(need: ModelNeed, signal?: AbortSignal): Promise<boolean>
}

export interface SessionSnapshot {
  state: SessionState
  /** Number of the running reconnection attempt, 0 outside of one. */
  attempt: number
  /** What the server says it is loading, null when it says nothing. */
  stage: string | null
  loadingSince: number | null
  error: SessionError | null
  stream: MediaStream | null
  sessionId: string | null
  /** What the running session was started with; null when none runs. */
  running: LoadPlan | null
  /** Another client is reloading the pipeline; pictures will come again by themselves. */
  parked: boolean
}

export interface SessionDeps {
  api: SessionApi
  bus: ParamBus
  createPeer: PeerFactory
  /** The document as it is now: asked again for every connection, so a reconnection carries what is on air. */
  plan(): Promise<StartPlan> | StartPlan
  onMessage(message: Params): void
  /** Runs before a session is given up, while it still exists on the server. */
  beforeClose?(): Promise<void>
  now?: () => number
}

export const MAX_ATTEMPTS = 5
const BACKOFF_MS = [1000, 2000, 4000, 8000, 8000]
const CONNECT_TIMEOUT_MS = 15_000
const FIRST_FRAME_TIMEOUT_MS = 20_000
const PATIENT_FIRST_FRAME_MS = 120_000
const DISCONNECT_GRACE_MS = 1500
export const STALL_MS = 1600
const TICK_MS = 250

const IDLE: SessionSnapshot = {
  state: 'idle',
  attempt: 0,
  stage: null,
  loadingSince: null,
  error: null,
  stream: null,
  sessionId: null,
  running: null,
  parked: false,
}

/** States in which a picture is on screen and frames are expected or deliberately held. */
const ON_SCREEN: ReadonlySet<SessionState> = new Set(['live', 'paused', 'stalled'])

/** The one owner of the stream: starts, watches, recovers and ends it. Everything the UI enables derives from `store`. */
export class Session {
  readonly store = createStore<SessionSnapshot>(() => IDLE)
  private run: AbortController | null = null
  private link: Link | null = null
  private recovering = false
  private holdPaused = false
  private serverStart: number | null = null
  private lastFrameAt = 0
  private framesOnLink = 0
  private inputExpected = false
  private lastMessageAt = Number.NEGATIVE_INFINITY
  /** The server has input, or needs none, and has sent nothing yet. */
  private working = true
  private frameWaiters: (() => void)[] = []
  private connectWaiters: ((failed: boolean) => void)[] = []
  private graceTimer: ReturnType<typeof setTimeout> | null = null
  private ticker: ReturnType<typeof setInterval> | null = null
  private probing = false
  private readonly now: () => number

  constructor(private readonly deps: SessionDeps) {
    this.now = deps.now ?? (() => performance.now())
  }

  get state(): SessionState {
    return this.store.getState().state
  }

  get active(): boolean {
    return !['idle', 'failed', 'stopping'].includes(this.state)
  }

  /** Starts a stream; does nothing while one exists. */
  async start(): Promise<void> {
    if (this.active || this.state === 'stopping') return
    this.holdPaused = false
    this.deps.bus.clear()
    this.set({ ...IDLE, state: 'checking' })
    await this.attempt((run) => this.bringUp(run, false))
  }

  /** Ends the session and starts again with the present plan, keeping the last picture meanwhile. */
  async restart(): Promise<void> {
    if (!this.active) {
      await this.start()
      return
    }
    this.run?.abort()
    this.recovering = false
    this.set({ state: 'loading', error: null, attempt: 0, stage: null })
    await this.attempt(async (run) => {
      await this.closeLink()
      await this.bringUp(run, false)
    })
  }

  /** Ends the stream. Always possible, needs no confirmation, and keeps the document. */
  async stop(): Promise<void> {
    if (this.state === 'failed') this.set(IDLE)
    if (!this.active) return
    this.run?.abort()
    this.recovering = false
    this.set({ state: 'stopping', error: null })
    await this.deps.beforeClose?.().catch(() => undefined)
    await this.closeLink()
    this.set(IDLE)
  }

  pause(): void {
    if (this.state !== 'live' && this.state !== 'stalled') return
    this.holdPaused = true
    this.deps.bus.send({ paused: true })
    this.set({ state: 'paused' })
  }

  resume(): void {
    if (this.state !== 'paused') return
    this.holdPaused = false
    this.lastFrameAt = this.now()
    this.deps.bus.send({ paused: false })
    this.set({ state: 'live' })
  }

  clearError(): void {
    if (this.state === 'failed') this.set(IDLE)
  }

  /** Called for every new decoded or presented frame. */
  noteFrame(): void {
    this.lastFrameAt = this.now()
    this.framesOnLink += 1
    for (const resolve of this.frameWaiters.splice(0)) resolve()
    if (this.state === 'stalled' && !this.recovering) this.set({ state: 'live' })
  }

  /** The event stream from the server broke: ask at once whether the server is still there. */
  suspectServer(): void {
    if (ON_SCREEN.has(this.state) || this.state === 'waiting') void this.probe()
  }

  abandon(): void {
    this.link?.abandon()
  }

  stats(): Promise<RTCStatsReport | null> {
    return this.link?.stats() ?? Promise.resolve(null)
  }

  replaceTrack(track: MediaStreamTrack | null): Promise<void> {
    return this.link?.replaceTrack(track) ?? Promise.resolve()
  }

  private set(change: Partial<SessionSnapshot>): void {
    this.store.setState(change)
  }

  private async attempt(work: (run: AbortSignal) => Promise<void>): Promise<void> {
    const run = new AbortController()
    this.run = run
    try {
      await work(run.signal)
    } catch (cause) {
      if (aborted(run.signal)) return
      await this.fail(sessionError(cause))
    }
  }

  private async fail(error: SessionError): Promise<void> {
    this.run?.abort()
    this.recovering = false
    this.set({ ...IDLE, state: 'failed', error })
    await this.closeLink()
  }

  /** Pipeline, connection, first frame. `quiet` keeps the word "reconnecting" on screen meanwhile. */
  private async bringUp(run: AbortSignal, quiet: boolean): Promise<void> {
    const step = (state: SessionState, more: Partial<SessionSnapshot> = {}) =>
      this.set(quiet ? { ...more, state: 'reconnecting' } : { ...more, state })
    this.serverStart = (await this.deps.api.health(4000, run)).server_start_time
    const plan = await this.deps.plan()
    run.throwIfAborted()
    await ensurePipeline(this.deps.api, plan, run, {
      loading: () => step('loading', { loadingSince: this.now(), stage: null }),
      stage: (stage) => this.set({ stage }),
    })
    step('connecting', { stage: null, loadingSince: null })
    const link = await this.connect(plan, run)
    if (!quiet) this.set({ state: 'waiting' })
    await this.firstFrame(run)
    if (this.holdPaused) this.deps.bus.send({ paused: true })
    const { initialParameters: _, track: __, ...running } = plan
    this.set({
      state: this.holdPaused ? 'paused' : 'live',
      attempt: 0,
      running,
      sessionId: link.sessionId,
      error: null,
    })
    this.watch()
  }

  private async connect(plan: StartPlan, run: AbortSignal): Promise<Link> {
    const mine = () => this.link === link
    const link: Link = new Link(this.deps.api, this.deps.createPeer, {
      stream: (stream) => mine() && this.showStream(stream),
      state: (state) => mine() && this.connectionChanged(state),
      channelOpen: (channel) => mine() && this.deps.bus.attach(channel),
      message: (message) => mine() && this.receive(message),
    })
    this.link = link
    this.framesOnLink = 0
    this.deps.bus.forgetSticky()
    this.lastMessageAt = Number.NEGATIVE_INFINITY
    this.working = true
    this.inputExpected = plan.mode === 'video'
    await link.open(plan.track, plan.initialParameters, run)
    await this.connected(link, CONNECT_TIMEOUT_MS, run)
    this.set({ sessionId: link.sessionId })
    return link
  }

  private showStream(stream: MediaStream): void {
    this.framesOnLink = 0
    this.set({ stream })
  }

  private async connected(link: Link, timeoutMs: number, run: AbortSignal): Promise<void> {
    if (link.connected) return
    const failed = await within(
      new Promise<boolean>((resolve) => this.connectWaiters.push(resolve)),
      timeoutMs,
      run,
      () => new SessionFailure('ice_failed', `No media connection within ${timeoutMs / 1000} s`),
    )
    if (failed) throw new SessionFailure('ice_failed', 'The media connection failed')
  }

  /** Waits longer while the server is at work on the first chunk, but not when frames are lost on the way in or out. */
  private async firstFrame(run: AbortSignal): Promise<void> {
    if (this.framesOnLink > 0) return
    const seen = new Promise<void>((resolve) => this.frameWaiters.push(resolve))
    const begun = this.now()
    const late = () => new SessionFailure('no_first_frame', 'The connection is up but no picture arrived')
    for (;;) {
      try {
        await within(seen, FIRST_FRAME_TIMEOUT_MS, run, late)
        return
      } catch (cause) {
        const working = this.working && this.now() - this.lastMessageAt < 4000
        const waited = this.now() - begun
        if (aborted(run) || !working || waited > PATIENT_FIRST_FRAME_MS) throw cause
      }
    }
  }

  private connectionChanged(state: RTCPeerConnectionState): void {
    if (this.graceTimer !== null) clearTimeout(this.graceTimer)
    this.graceTimer = null
    if (state === 'connected') for (const resolve of this.connectWaiters.splice(0)) resolve(false)
    if (state === 'failed') {
      for (const resolve of this.connectWaiters.splice(0)) resolve(true)
      if (ON_SCREEN.has(this.state)) void this.recover(true)
    }
    if (state === 'disconnected' && ON_SCREEN.has(this.state)) {
      this.graceTimer = setTimeout(() => void this.recover(true), DISCONNECT_GRACE_MS)
    }
  }

  private receive(message: Params): void {
    this.lastMessageAt = this.now()
    switch (message.type) {
      case 'stream_stopped':
        void this.stoppedByServer(message)
        break
      case 'metrics':
        this.working = !message.frames_out && !(this.inputExpected && message.frames_in === 0)
        break
      case 'state':
        this.serverState(String(message.state))
        break
    }
    this.deps.onMessage(message)
  }

  private serverState(state: string): void {
    this.set({ parked: state === 'parked' })
    if (state === 'paused' && this.state === 'live') {
      this.holdPaused = true
      this.set({ state: 'paused' })
    } else if (state === 'live' && this.state === 'paused' && !this.holdPaused) {
      this.lastFrameAt = this.now()
      this.set({ state: 'live' })
    }
  }

  private async stoppedByServer(message: Params): Promise<void> {
    if (!this.active) return
    const text = typeof message.error_message === 'string' ? message.error_message : null
    const code = typeof message.error_code === 'string' ? message.error_code : null
    this.run?.abort()
    if (text === null && code === null) {
      this.recovering = false
      this.set(IDLE)
      await this.closeLink()
      return
    }
    await this.fail({ code: code ?? codeFromText(text ?? '') ?? 'pipeline_failed', message: text ?? code ?? '' })
  }

  private watch(): void {
    this.lastFrameAt = this.now()
    this.ticker ??= setInterval(() => this.tick(), TICK_MS)
  }

  private tick(): void {
    const silentMs = this.now() - this.lastFrameAt
    const { parked } = this.store.getState()
    if (this.state === 'live' && silentMs > STALL_MS && !parked) this.set({ state: 'stalled' })
    if (this.state !== 'stalled') return
    if (silentMs > 15_000 && this.now() - this.lastMessageAt > 15_000) void this.recover(false)
    else void this.probe()
  }

  /** Tells a busy server from one that is gone or has been started anew. */
  private async probe(): Promise<void> {
    if (this.probing || this.recovering) return
    this.probing = true
    try {
      const health = await this.deps.api.health(1500)
      if (this.serverStart !== null && health.server_start_time !== this.serverStart) void this.recover(false)
    } catch (cause) {
      if (sessionError(cause).code === 'server_unreachable') void this.recover(false)
    } finally {
      await sleep(500).catch(() => undefined)
      this.probing = false
    }
  }

  /** Gets the picture back: first a new path for the same session (`sameSession`), then a new session, with back-off. */
  private async recover(sameSession: boolean): Promise<void> {
    if (this.recovering || !ON_SCREEN.has(this.state)) return
    this.recovering = true
    this.run?.abort()
    this.set({ state: 'reconnecting', attempt: 1 })
    await this.attempt(async (run) => {
      if (sameSession && (await this.renewPath(run))) {
        this.set({ state: this.holdPaused ? 'paused' : 'live', attempt: 0 })
        this.recovering = false
        this.watch()
        return
      }
      await this.reconnect(run)
      this.recovering = false
    })
  }

  private async renewPath(run: AbortSignal): Promise<boolean> {
    const link = this.link
    if (!link) return false
    try {
      await link.restartIce(run)
      const next = new Promise<void>((resolve) => this.frameWaiters.push(resolve))
      await this.connected(link, 5000, run)
      if (!this.holdPaused) await within(next, 3000, run, () => new SessionFailure('no_first_frame', 'No picture'))
      return true
    } catch (cause) {
      if (aborted(run)) throw cause
      return false
    }
  }

  private async reconnect(run: AbortSignal): Promise<void> {
    let last: SessionError = { code: 'server_unreachable', message: 'The server does not answer' }
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      this.set({ attempt, stage: null })
      await this.closeLink()
      await this.backOff(BACKOFF_MS[attempt - 1] ?? 8000, last.code === 'server_unreachable', run)
      try {
        await this.bringUp(run, true)
        return
      } catch (cause) {
        if (aborted(run)) throw cause
        last = sessionError(cause)
        if (needsPerson(last)) break
      }
    }
    throw new SessionFailure(last.code, last.message)
  }

  /** Waits, but not longer than the server needs to come back when it is the server that was gone. */
  private async backOff(ms: number, untilReachable: boolean, run: AbortSignal): Promise<void> {
    const end = this.now() + ms
    while (this.now() < end) {
      await sleep(Math.min(500, Math.max(1, end - this.now())), run)
      if (!untilReachable) continue
      const answers = await this.deps.api.health(1500, run).then(
        () => true,
        () => false,
      )
      run.throwIfAborted()
      if (answers) return
    }
  }

  private async closeLink(): Promise<void> {
    if (this.graceTimer !== null) clearTimeout(this.graceTimer)
    this.graceTimer = null
    if (this.ticker !== null) clearInterval(this.ticker)
    this.ticker = null
    this.frameWaiters = []
    this.connectWaiters = []
    this.deps.bus.detach()
    const link = this.link
    this.link = null
    await link?.close()
  }
}
