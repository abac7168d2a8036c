import { api } from '../api/client'
import { metricsSchema, type Params, type Pipeline } from '../api/types'
import {
  DEFAULT_PROMPT,
  newId,
  type ProjectDoc,
  type SourceSettings,
  type WirePrompt,
  wirePromptSchema,
} from '../doc/model'
import { putOnAir, samePrompts, sameTexts, setDraft, wirePrompts } from '../doc/prompts'
import { changeDoc, docStore } from '../doc/store'
import { allFields, schemaKey, wireKey } from '../schema/plan'
import { saveAs, screenshot } from './capture'
import { Catalog, defaultPipeline } from './catalog'
import { keepClip, keptClip } from './clipStore'
import { FrameWatch } from './frameWatch'
import { LatencyTracker } from './latency'
import type { LoadPlan } from './loading'
import { deepEqual } from './loading'
import { Meters } from './meters'
import { NetStatsReader } from './netStats'
import { Output } from './output'
import { ParamBus } from './paramBus'
import { Recorder } from './recorder'
import { Session, type SessionSnapshot } from './session'
import { Source } from './source'
import { docBlocks, Transport } from './transport'
import { initialParameters, loadPlanFor, modeFor, sizeFor, takeMessage } from './wire'

const FIRST_PROMPTS: readonly WirePrompt[] = [{ text: DEFAULT_PROMPT, weight: 100 }]
const LOCAL_WINS_MS = 150
const METER_MS = 500

/** Everything that runs below the user interface, wired together once. */
export class Scope {
  readonly bus = new ParamBus()
  readonly meters = new Meters()
  readonly latency = new LatencyTracker((latency) => {
    this.meters.latency = latency
    this.meters.latencyP95 = this.latency.p95()
    this.meters.paint()
  })
  readonly transport = new Transport(docBlocks(() => docStore.getState(), changeDoc))
  readonly source = new Source()
  readonly output = new Output()
  readonly recorder = new Recorder(api, saveAs)
  readonly catalog = new Catalog(
    api,
    () => this.choosePipeline(),
    () => this.session.suspectServer(),
  )
  readonly session: Session
  readonly frames: FrameWatch
  /** Parameter problems the server reported while the stream goes on. */
  onNotice: (text: string) => void = () => undefined
  /** What the server did by itself so that the stream goes on. */
  onRemark: (text: string) => void = () => undefined
  private readonly net = new NetStatsReader()
  private readonly touched = new Map<string, number>()
  private clip: Blob | null = null
  private ticks = 0

  constructor() {
    this.session = new Session({
      api,
      bus: this.bus,
      createPeer: (config) => new RTCPeerConnection(config),
      plan: () => this.plan(),
      onMessage: (message) => this.receive(message),
      beforeClose: () => this.recorder.stop(),
    })
    this.frames = new FrameWatch(this.latency, () => this.session.noteFrame())
    this.session.store.subscribe((next, previous) => this.sessionChanged(next, previous))
    docStore.subscribe((next, previous) => this.docChanged(next, previous))
    setInterval(() => void this.measure(), METER_MS)
    window.addEventListener('pagehide', () => this.session.abandon())
  }

  async boot(): Promise<void> {
    void this.catalog.load()
    const { source } = docStore.getState()
    if (source.clip) {
      this.clip = await keptClip()
      if (!this.clip) changeDoc((doc) => ({ ...doc, source: { ...doc.source, clip: null } }))
    }
    await this.source.use(docStore.getState().source, this.clip)
  }

  /** The pipeline of the document, null before the catalogue came or when it names one that is gone. */
  pipeline(): Pipeline | null {
    const { pipelineId } = docStore.getState()
    return pipelineId === null ? null : (this.catalog.store.getState().pipelines[pipelineId] ?? null)
  }

  get onScreen(): boolean {
    return ['live', 'paused', 'stalled'].includes(this.session.state)
  }

  start(): Promise<void> {
    const draft = wirePrompts(docStore.getState().draft)
    if (!this.session.active && draft.length > 0) changeDoc(putOnAir(draft))
    return this.session.start()
  }

  togglePlay(): void {
    if (this.session.state === 'paused') this.session.resume()
    else if (this.onScreen) this.session.pause()
    else void this.start()
  }

  /** Puts prompts on air: at once when a picture is up, with the connection otherwise. */
  take(prompts: readonly WirePrompt[], hard = false): boolean {
    const pipeline = this.pipeline()
    if (prompts.length === 0) return false
    changeDoc(putOnAir(prompts))
    if (!pipeline?.supports_prompts || !this.session.active) return true
    const id = newId()
    const { message, take } = takeMessage(id, prompts, hard, docStore.getState(), pipeline)
    this.latency.taken(id, performance.now())
    this.bus.send(message)
    this.transport.take(take)
    return true
  }

  takeDraft(hard = false): boolean {
    return this.take(wirePrompts(docStore.getState().draft), hard)
  }

  /** Takes prompts from a chip, the deck or the list of takes: they become the draft as well. */
  recall(prompts: readonly WirePrompt[], hard = false): void {
    changeDoc(setDraft(prompts))
    this.take(prompts, hard)
  }

  /** A live change of a parameter; load parameters wait for `applyReload`. */
  setParam(key: string, value: unknown): void {
    const pipeline = this.pipeline()
    if (!pipeline) return
    this.touched.set(key, performance.now())
    changeDoc((doc) => {
      const own: Params = { ...doc.params[pipeline.id], [key]: value }
      return { ...doc, params: { ...doc.params, [pipeline.id]: own } }
    })
    const field = allFields(pipeline, modeFor(docStore.getState(), pipeline)).find((entry) => entry.key === key)
    if (field && !field.reload && this.session.active) this.bus.set(wireKey(key), value)
  }

  resetParams(keys: readonly string[]): void {
    const pipeline = this.pipeline()
    if (!pipeline) return
    changeDoc((doc) => {
      const own = Object.fromEntries(
        Object.entries(doc.params[pipeline.id] ?? {}).filter(([key]) => !keys.includes(key)),
      )
      return { ...doc, params: { ...doc.params, [pipeline.id]: own } }
    })
    if (!this.session.active) return
    for (const field of allFields(pipeline, modeFor(docStore.getState(), pipeline))) {
      if (keys.includes(field.key) && !field.reload) this.bus.set(wireKey(field.key), field.default)
    }
  }

  resetCache(): void {
    if (this.onScreen) this.bus.send({ reset_cache: true })
  }

  /** Whether the document asks for another load than the one that runs. */
  reloadPending(running: LoadPlan | null, doc: ProjectDoc, pipeline: Pipeline | null): boolean {
    if (!running || !pipeline) return false
    const wanted = loadPlanFor(doc, pipeline)
    return (
      wanted.pipelineId !== running.pipelineId ||
      wanted.mode !== running.mode ||
      !deepEqual(wanted.loadParams, running.loadParams)
    )
  }

  async applyReload(): Promise<void> {
    await this.recorder.stop()
    await this.session.restart()
  }

  async setSource(change: Partial<SourceSettings>): Promise<void> {
    changeDoc((doc) => ({ ...doc, source: { ...doc.source, ...change } }))
    await this.source.use(docStore.getState().source, this.clip)
  }

  async openClip(file: File): Promise<boolean> {
    if (!(await this.source.accept(file))) return false
    this.clip = file
    void keepClip(file)
    changeDoc((doc) => ({ ...doc, mode: 'video', source: { ...doc.source, clip: null } }))
    await this.setSource({ kind: 'file', clip: `${file.name}#${file.lastModified}` })
    return true
  }

  async screenshot(): Promise<boolean> {
    const [first] = docStore.getState().onAir
    return this.onScreen && screenshot(this.frames.video, first?.text ?? '', this.transport.time())
  }

  async toggleRecording(): Promise<void> {
    const { sessionId, stream } = this.session.store.getState()
    if (this.recorder.store.getState().phase === 'on') await this.recorder.stop()
    else if (this.onScreen && sessionId) await this.recorder.start(sessionId, stream)
  }

  private plan() {
    const pipeline = this.pipeline()
    if (!pipeline) throw new Error('No pipeline is chosen')
    const doc = docStore.getState()
    this.source.setSize(sizeFor(doc, pipeline))
    const load = loadPlanFor(doc, pipeline)
    const track = load.mode === 'video' ? this.source.track() : null
    this.source.setSending(track !== null)
    return { ...load, initialParameters: initialParameters(doc, pipeline), track }
  }

  private choosePipeline(): void {
    const { pipelines, status, suggested } = this.catalog.store.getState()
    const { pipelineId, mode, draft, onAir } = docStore.getState()
    const keep = pipelineId !== null && pipelines[pipelineId] !== undefined
    const chosen = keep ? pipelineId : defaultPipeline(pipelines, mode, status, suggested)
    if (chosen === pipelineId) return
    changeDoc((doc) => ({ ...doc, pipelineId: chosen }))
    // A prompt that nobody has touched gives way to the pipeline's own.
    const text = chosen === null ? null : pipelines[chosen]?.default_prompt
    const untouched = [wirePrompts(draft), onAir].every((prompts) => samePrompts(prompts, FIRST_PROMPTS))
    if (!text || !untouched) return
    const prompts = [{ text, weight: 100 }]
    changeDoc(setDraft(prompts))
    changeDoc((doc) => ({ ...doc, onAir: prompts }))
  }

  private docChanged(next: ProjectDoc, previous: ProjectDoc): void {
    const live = this.session.active && !next.cue
    if (!live || next.draft === previous.draft) return
    const before = wirePrompts(previous.draft)
    const after = wirePrompts(next.draft)
    const onlyWeights = sameTexts(after, next.onAir) && sameTexts(after, before) && !deepEqual(after, next.onAir)
    if (!onlyWeights || !this.pipeline()?.supports_prompts) return
    changeDoc((doc) => ({ ...doc, onAir: after }))
    this.bus.set('prompts', after)
    this.transport.amend(after)
  }

  private sessionChanged(next: SessionSnapshot, previous: SessionSnapshot): void {
    if (next.stream !== previous.stream) {
      // The last picture stays up while the connection is renewed.
      if (next.stream || next.state === 'idle' || next.state === 'failed') this.frames.show(next.stream)
      // After a failure the output window holds its last picture.
      if (next.state !== 'failed') this.output.show(next.stream)
    }
    if (next.state === previous.state) return
    switch (next.state) {
      case 'checking':
        this.transport.arm()
        break
      case 'live':
        this.goesLive()
        break
      case 'paused':
        this.transport.pause()
        break
      case 'idle':
      case 'failed':
        this.transport.stop()
        this.recorder.lost()
        this.source.setSending(false)
        this.net.reset()
        this.meters.reset()
        break
      case 'stopping':
        break
      default:
        this.transport.freeze()
        if (next.state === 'reconnecting') this.recorder.lost()
    }
  }

  private goesLive(): void {
    const doc = docStore.getState()
    const prompts = this.pipeline()?.supports_prompts ? doc.onAir : []
    if (this.transport.current === 'armed') {
      this.transport.thaw()
      this.transport.firstFrame({ prompts, transition: null, cut: 'soft' })
    }
    this.transport.resume()
    this.transport.thaw()
    // Another pipeline, which takes prompts where the one before did not, or the other way round.
    const live = docStore.getState().blocks.find(({ endMs }) => endMs === null)
    if (live && !samePrompts(live.prompts, prompts)) this.transport.take({ prompts, transition: null, cut: 'soft' })
  }

  private receive(message: Params): void {
    const now = performance.now()
    switch (message.type) {
      case 'applied':
        this.latency.applied(
          String(message.id),
          typeof message.rtp_timestamp === 'number' ? message.rtp_timestamp : null,
          now,
        )
        break
      case 'metrics': {
        const metrics = metricsSchema.safeParse(message)
        if (metrics.success) this.meters.server = metrics.data
        this.meters.serverAt = now
        break
      }
      case 'parameters_updated':
        if (message.parameters && typeof message.parameters === 'object') this.adopt(message.parameters as Params)
        break
      case 'error':
      case 'warning':
        if (typeof message.message !== 'string') break
        if (message.code === 'quality_reduced') this.onRemark(message.message)
        else this.onNotice(message.message)
        break
    }
  }

  /** Another controller changed parameters: show them, except where a hand is on the control right now. */
  private adopt(parameters: Params): void {
    const pipeline = this.pipeline()
    if (!pipeline) return
    const now = performance.now()
    if (pipeline.supports_prompts) this.adoptPrompts(parameters.prompts)
    const known = new Set(allFields(pipeline, modeFor(docStore.getState(), pipeline)).map((field) => field.key))
    const changed: Params = {}
    for (const [wire, value] of Object.entries(parameters)) {
      const key = schemaKey(wire)
      if (known.has(key) && now - (this.touched.get(key) ?? Number.NEGATIVE_INFINITY) > LOCAL_WINS_MS)
        changed[key] = value
    }
    if (Object.keys(changed).length === 0) return
    changeDoc((doc) => ({
      ...doc,
      params: { ...doc.params, [pipeline.id]: { ...doc.params[pipeline.id], ...changed } },
    }))
  }

  private adoptPrompts(value: unknown): void {
    const parsed = wirePromptSchema.array().min(1).safeParse(value)
    const { onAir, draft } = docStore.getState()
    if (!parsed.success || samePrompts(parsed.data, onAir)) return
    const untouched = samePrompts(wirePrompts(draft), onAir)
    changeDoc(putOnAir(parsed.data))
    if (untouched) changeDoc(setDraft(parsed.data))
    this.transport.take({ prompts: parsed.data, transition: null, cut: 'soft' })
  }

  /** Twice a second: frame rate. Once a second: statistics and history. Nothing while no stream exists. */
  private async measure(): Promise<void> {
    if (!this.session.active) return
    const now = performance.now()
    this.ticks += 1
    if (this.ticks % 2 === 0 || document.hidden) {
      const report = await this.session.stats().catch(() => null)
      if (report) {
        this.meters.net = this.net.read(report, now)
        this.frames.noteDecoded(this.meters.net.decoded ?? 0, now)
      }
    }
    this.meters.fps = this.session.state === 'live' || this.session.state === 'paused' ? this.frames.rate.value(now) : 0
    if (this.ticks % 2 === 0) this.meters.pushFps(this.meters.fps)
    if (now - this.meters.serverAt > 3000) this.meters.server = null
    this.meters.paint()
  }
}
