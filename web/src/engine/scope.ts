import { api, type ModelNeed } from '../api/client'
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
import { type Field, schemaKey, wireKey } from '../schema/plan'
import { saveAs, screenshot } from './capture'
import { Catalog, defaultPipeline } from './catalog'
import { type ChainNode, chainOf, mainNode, needOf, sectionsOf } from './chain'
import { keepClip, keptClip } from './clipStore'
import { FrameWatch } from './frameWatch'
import { LatencyTracker } from './latency'
import { deepEqual, differs, type LoadPlan } from './loading'
import { Meters } from './meters'
import { filesOf, Models } from './models'
import { NetStatsReader } from './netStats'
import { Output } from './output'
import { ParamBus } from './paramBus'
import { Recorder } from './recorder'
import { Session, type SessionSnapshot } from './session'
import { Source } from './source'
import { docBlocks, Transport } from './transport'
import { initialParameters, loadPlanFor, sizeFor, takeMessage } from './wire'

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
  readonly models = new Models(api, sessionStorage)
  readonly catalog = new Catalog(
    api,
    () => this.catalogCame(),
    () => this.session.suspectServer(),
    (event) => void this.models.heard(event),
  )
  readonly session: Session
  readonly frames: FrameWatch
  /** Parameter problems the server reported while the stream goes on. */
  onNotice: (text: string) => void = () => undefined
  /** What the server did by itself so that the stream goes on. */
  onRemark: (text: string) => void = () => undefined
  /** A pipeline's files have come that nothing waits for. */
  onFiles: (pipeline: Pipeline) => void = () => undefined
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
    this.models.onEnded = (id) => this.downloadEnded(id)
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

  /** The nodes of the document, in the order in which pictures pass; none before the catalogue came. */
  chain(): ChainNode[] {
    const pipeline = this.pipeline()
    return pipeline ? chainOf(docStore.getState(), pipeline, this.catalog.store.getState().pipelines) : []
  }

  /** What the nodes of the document need and the server has not. */
  missing(): ModelNeed[] {
    const doc = docStore.getState()
    const { models } = this.models.store.getState()
    return this.chain().flatMap((node) => {
      const need = needOf(doc, node)
      const model = models[node.pipeline.id]
      return need && model && filesOf(model, need).state !== 'complete' ? [need] : []
    })
  }

  /** The node that messages for the pipeline itself name: none when it is alone. */
  private get addressee(): string | undefined {
    const running = this.session.store.getState().running
    if (running) return running.nodes.length > 1 ? running.main : undefined
    const chain = this.chain()
    return chain.length > 1 ? this.pipeline()?.id : undefined
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
    const { message, take } = takeMessage(id, prompts, hard, docStore.getState(), pipeline, this.addressee)
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
  setParam(node: ChainNode, key: string, value: unknown): void {
    this.touched.set(`${node.id} ${key}`, performance.now())
    changeDoc((doc) => ({ ...doc, params: { ...doc.params, [node.id]: { ...doc.params[node.id], [key]: value } } }))
    const field = this.fields(node).find((entry) => entry.key === key)
    if (field) this.tell(node, field, value)
  }

  resetParams(node: ChainNode, keys: readonly string[]): void {
    changeDoc((doc) => {
      const own = Object.fromEntries(Object.entries(doc.params[node.id] ?? {}).filter(([key]) => !keys.includes(key)))
      return { ...doc, params: { ...doc.params, [node.id]: own } }
    })
    for (const field of this.fields(node)) {
      if (keys.includes(field.key)) this.tell(node, field, field.default)
    }
  }

  private fields(node: ChainNode): Field[] {
    return sectionsOf(node).flatMap((section) => section.fields)
  }

  private tell(node: ChainNode, field: Field, value: unknown): void {
    if (field.reload || !this.session.active) return
    this.bus.set(wireKey(field.key), value, node.role === 'main' ? this.addressee : node.id)
  }

  resetCache(): void {
    if (this.onScreen) this.bus.send({ reset_cache: true })
  }

  /** Whether the document asks for another load than the one that runs. */
  reloadPending(running: LoadPlan | null, doc: ProjectDoc): boolean {
    const chain = this.chain()
    return running !== null && chain.length > 0 && differs(loadPlanFor(doc, chain), running)
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
    const chain = this.chain()
    const load = loadPlanFor(doc, chain)
    const track = load.mode === 'video' ? this.source.track() : null
    this.source.setSending(track !== null)
    return { ...load, initialParameters: initialParameters(doc, chain), track }
  }

  private catalogCame(): void {
    this.choosePipeline()
    void this.models.refresh()
  }

  /** What waited for these files starts, if it is still what the document asks for and nothing else runs. */
  private downloadEnded(id: string): void {
    const { models, startAfter } = this.models.store.getState()
    const { pipelines } = this.catalog.store.getState()
    const doc = docStore.getState()
    const waiting = startAfter !== null && startAfter === doc.pipelineId && !this.session.active
    const missing = this.missing()
    if (waiting && missing.length === 0) {
      this.models.wish(null)
      void this.start()
      return
    }
    // One that failed can be tried again, and then goes on to the start; one that somebody ended cannot.
    if (waiting && missing.some((need) => models[need.pipelineId]?.progress)) return
    if (waiting) this.models.wish(null)
    const [pipeline, model] = [pipelines[id], models[id]]
    const need = pipeline && needOf(doc, mainNode(doc, pipeline))
    if (pipeline && need && model && filesOf(model, need).state === 'complete') this.onFiles(pipeline)
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
    this.bus.set('prompts', after, this.addressee)
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
    const only = typeof parameters.node_id === 'string' ? parameters.node_id : null
    for (const node of this.chain()) {
      if (only === null || only === node.id) this.adoptValues(node, parameters, now)
    }
  }

  private adoptValues(node: ChainNode, parameters: Params, now: number): void {
    const known = new Set(this.fields(node).map((field) => field.key))
    const changed: Params = {}
    for (const [wire, value] of Object.entries(parameters)) {
      const key = schemaKey(wire)
      const touched = this.touched.get(`${node.id} ${key}`) ?? Number.NEGATIVE_INFINITY
      if (known.has(key) && now - touched > LOCAL_WINS_MS) changed[key] = value
    }
    if (Object.keys(changed).length === 0) return
    changeDoc((doc) => ({ ...doc, params: { ...doc.params, [node.id]: { ...doc.params[node.id], ...changed } } }))
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
