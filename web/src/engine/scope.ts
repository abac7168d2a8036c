import { api, type ModelNeed } from '../api/client'
import { rendersApi } from '../api/renders'
import { scoresApi } from '../api/scores'
import { type Asset, metricsSchema, type Params, type Pipeline } from '../api/types'
import { clipId, clipName, withClip } from '../doc/clip'
import { deepEqual } from '../doc/equal'
import { bindClock, editDoc } from '../doc/history'
import {
  DEFAULT_PROMPT,
  methodSchema,
  newId,
  type ProjectDoc,
  type SourceSettings,
  type WirePrompt,
  wirePromptsSchema,
} from '../doc/model'
import { followAir, putOnAir, samePrompts, sameTexts, setDraft, wirePrompts } from '../doc/prompts'
import { changeDoc, docStore } from '../doc/store'
import { endOf, type Take } from '../doc/timeline'
import { adaptersOf, scalesOf } from '../schema/loras'
import { effectiveValue, type Field, keysOf, liveValue, schemaKey, wireKey } from '../schema/plan'
import { saveAs, screenshot } from './capture'
import { Catalog, defaultPipeline } from './catalog'
import { type ChainNode, chainOf, mainNode, needOf, sectionsOf } from './chain'
import { keepClip, keptClip } from './clipStore'
import { Clips } from './clips'
import { FrameWatch } from './frameWatch'
import { Hand } from './hand'
import { HealthWatch } from './health'
import { LatencyTracker } from './latency'
import { Library } from './library'
import { differs, type LoadPlan } from './loading'
import { Meters, NO_STATS } from './meters'
import { filesOf, Models } from './models'
import { Music } from './music'
import { NetStatsReader } from './netStats'
import { Output } from './output'
import { ParamBus } from './paramBus'
import { Recorder } from './recorder'
import { Rerender } from './rerender'
import { Session, type SessionSnapshot } from './session'
import { Shows } from './shows'
import { Source } from './source'
import { scoreOf, Transport } from './transport'
import { BLEND_KEY, blendOf, initialParameters, loadPlanFor, sizeFor, takeMessage, takeOf } from './wire'

const FIRST_PROMPTS: readonly WirePrompt[] = [{ text: DEFAULT_PROMPT, weight: 100 }]
const LOCAL_WINS_MS = 150
/** The name in the history of a take that replaces what was there. */
const OVERDUB = 'overdub'
const METER_MS = 500
/** Stop does not wait longer for what the server noted of the show. */
const SCORE_MS = 3000
const SEED = 'base_seed'
/** What is offered as a file stays as long as a browser may need to take it. */
const SAVE_MS = 30_000

/** Everything that runs below the user interface, wired together once. */
export class Scope {
  readonly bus = new ParamBus()
  readonly meters = new Meters()
  readonly health = new HealthWatch()
  readonly latency = new LatencyTracker((latency) => {
    this.meters.latency = latency
    this.meters.latencyP95 = this.latency.p95()
    this.meters.paint()
  })
  readonly transport = new Transport(
    scoreOf({
      read: () => docStore.getState(),
      change: changeDoc,
      edit: (change) => editDoc(OVERDUB, change),
      subscribe: (heard) => docStore.subscribe(heard),
    }),
  )
  readonly source = new Source()
  readonly output = new Output()
  readonly library = new Library(api)
  readonly recorder = new Recorder(api, {
    filed: (asset) => this.library.assets.add(asset),
    made: (name, data) => void this.library.file('recording', name, data),
    left: () => void this.library.awaitRecording().then((asset) => asset && this.onRescued(asset)),
    save: saveAs,
  })
  readonly models = new Models(api, sessionStorage)
  readonly shows = new Shows((sessionId) => scoresApi.score(sessionId, SCORE_MS))
  readonly rerender = new Rerender({ ...api, ...rendersApi })
  readonly catalog = new Catalog(
    api,
    () => this.catalogCame(),
    () => this.session.suspectServer(),
    (event) => void this.models.heard(event),
  )
  readonly music = new Music({
    bus: this.bus,
    doc: () => docStore.getState(),
    change: changeDoc,
    chain: () => this.chain(),
    clock: () => ({ ms: this.transport.time(), running: this.transport.running }),
    roundTripMs: () => this.meters.net.rttMs,
  })
  readonly session: Session
  readonly frames: FrameWatch
  /** Parameter problems the server reported while the stream goes on. */
  onNotice: (text: string) => void = () => undefined
  /** What the server did by itself so that the stream goes on. */
  onRemark: (text: string) => void = () => undefined
  /** A take is on air but not on the timeline, because a locked block is under the playhead. */
  onUnrecorded: () => void = () => undefined
  /** The session ended under a recording, and this is what there is of it. */
  onRescued: (recording: Asset) => void = () => undefined
  /** A clip that a document names is no longer on the server. */
  onLostClip: (name: string) => void = () => undefined
  /** A pipeline's files have come that nothing waits for. */
  onFiles: (pipeline: Pipeline) => void = () => undefined
  private readonly hand = new Hand()
  private readonly net = new NetStatsReader()
  private readonly touched = new Map<string, number>()
  /** A change of the document came from the server, which need not be told. */
  private adopting = false
  /** Clips of this visit, by the name that documents have for them. */
  private readonly clips = new Clips((asset) => api.asset(asset))
  private ticks = 0

  constructor() {
    this.session = new Session({
      api,
      bus: this.bus,
      createPeer: (config) => new RTCPeerConnection(config),
      plan: () => this.plan(),
      onMessage: (message) => this.receive(message),
      beforeClose: () => this.keepShow(),
    })
    this.frames = new FrameWatch(this.latency, () => this.session.noteFrame())
    this.session.store.subscribe((next, previous) => this.sessionChanged(next, previous))
    docStore.subscribe((next, previous) => this.docChanged(next, previous))
    this.transport.onBlock = (block) => this.playBlock(block)
    bindClock({
      time: () => this.transport.time(),
      atEnd: () => this.transport.atEnd(),
      shift: (ms) => this.transport.shift(ms),
    })
    setInterval(() => void this.measure(), METER_MS)
    this.models.onEnded = (id) => this.downloadEnded(id)
    this.catalog.onLora = (progress) => this.library.heard(progress)
    this.catalog.onRender = (render) => this.rerender.heard(render)
    window.addEventListener('pagehide', () => {
      this.session.abandon()
      this.library.flush()
    })
  }

  async boot(): Promise<void> {
    void this.catalog.load()
    const { source } = docStore.getState()
    const kept = source.clip ? await keptClip() : null
    if (source.clip && kept) this.clips.set(source.clip, kept)
    await this.chooseSource(source)
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
    const cued = this.transport.cuedPrompts()
    const draft = wirePrompts(docStore.getState().draft)
    if (!this.session.active && cued) changeDoc(followAir(cued))
    else if (!this.session.active && draft.length > 0) changeDoc(putOnAir(draft))
    return this.session.start()
  }

  togglePlay(): void {
    if (this.session.state === 'paused') this.session.resume()
    else if (this.onScreen) this.session.pause()
    else void this.start()
  }

  /**
   * Puts prompts on air: when a picture is up at once or on the beat that takes wait for, with the connection otherwise.
   */
  take(prompts: readonly WirePrompt[], hard = false): boolean {
    const pipeline = this.pipeline()
    if (prompts.length === 0) return false
    if (!pipeline?.supports_prompts || !this.session.active) {
      changeDoc(putOnAir(prompts))
      return true
    }
    const take = takeOf(prompts, hard, docStore.getState(), pipeline)
    const message = () => takeMessage(newId(), take, pipeline, this.addressee)
    if (this.onScreen && this.music.hold(take, message)) return true
    this.send(take, pipeline)
    this.nowOnAir(take)
    return true
  }

  private send(take: Take, pipeline: Pipeline): void {
    const id = newId()
    this.latency.taken(id, performance.now())
    this.bus.send(takeMessage(id, take, pipeline, this.addressee))
  }

  private nowOnAir(take: Take): void {
    changeDoc(putOnAir(take.prompts))
    if (!this.transport.take(take)) this.onUnrecorded()
  }

  /** A block has come under the playhead: it goes on air as when it was taken. */
  private playBlock(block: Take): void {
    const pipeline = this.pipeline()
    changeDoc(followAir(block.prompts))
    if (pipeline?.supports_prompts && this.session.active) this.send(block, pipeline)
  }

  /** Plays from a time on, from a stand as well. */
  playFrom(ms: number): void {
    this.transport.seek(ms)
    if (this.session.state === 'paused') this.session.resume()
    else if (!this.session.active) void this.start()
  }

  takeDraft(hard = false): boolean {
    return this.take(wirePrompts(docStore.getState().draft), hard)
  }

  /** Takes prompts from a chip, the deck or the list of takes: they become the draft as well. */
  recall(prompts: readonly WirePrompt[], hard = false): void {
    changeDoc(setDraft(prompts))
    this.take(prompts, hard)
  }

  /**
   * A change of a parameter: a live one at once, a load parameter with `applyReload`. It can be undone; a drag is one step,
   * and so are changes by keys and knobs that follow each other at once.
   */
  setParam(node: ChainNode, key: string, value: unknown): void {
    this.touched.set(`${node.id} ${key}`, performance.now())
    const set = (doc: ProjectDoc) => ({
      ...doc,
      params: { ...doc.params, [node.id]: { ...doc.params[node.id], [key]: value } },
    })
    const { held, count } = this.hand
    editDoc(this.labelOf(node, key), set, {
      merge: `param ${node.id} ${key} ${count}`,
      together: true,
      ...(held ? { mergeMs: Number.POSITIVE_INFINITY } : {}),
    })
  }

  resetParams(node: ChainNode, keys: readonly string[], label = this.labelOf(node, keys[0] ?? '')): void {
    editDoc(label, (doc) => {
      const own = doc.params[node.id] ?? {}
      if (!keys.some((key) => key in own)) return doc
      const kept = Object.fromEntries(Object.entries(own).filter(([key]) => !keys.includes(key)))
      return { ...doc, params: { ...doc.params, [node.id]: kept } }
    })
  }

  private labelOf(node: ChainNode, key: string): string {
    return this.fields(node).find((field) => keysOf(field).includes(key))?.label ?? key
  }

  /** Says a value once more that acts on one chunk only. */
  sendAgain(node: ChainNode, field: Field): void {
    const own = docStore.getState().params[node.id] ?? {}
    this.tell(node, field, effectiveValue(node.pipeline, node.mode, own, field.key))
  }

  /** Goes on with another document. A stream goes on too: what needs a reload waits for it, and so do prompts. */
  async openDoc(next: ProjectDoc): Promise<void> {
    const here = docStore.getState()
    // What is on air stays on air, at the end of the other timeline.
    if (this.onScreen) this.transport.shift(endOf(next.blocks, 0) - Math.floor(this.transport.time()))
    changeDoc(() => ({ ...next, onAir: this.session.active ? here.onAir : next.onAir }))
    this.choosePipeline()
    await this.chooseSource(next.source)
  }

  /** Goes on with a source of a document; a clip that neither this visit nor the server has gives way to the built-in one. */
  async chooseSource(wanted: SourceSettings): Promise<void> {
    changeDoc((doc) => ({ ...doc, source: wanted }))
    const clip = await this.clips.find(wanted)
    if (docStore.getState().source !== wanted) return
    const lost = wanted.clip !== null && clip === null
    const source = lost ? withClip(wanted, null) : wanted
    if (lost) {
      changeDoc((doc) => ({ ...doc, source }))
      if (wanted.asset !== undefined && wanted.clip !== null) this.onLostClip(clipName(wanted.clip))
    } else if (clip) void keepClip(clip)
    await this.source.use(source, clip)
  }

  private fields(node: ChainNode): Field[] {
    return sectionsOf(node).flatMap((section) => section.fields)
  }

  private tell(node: ChainNode, field: Field, value: unknown): void {
    const said = liveValue(field, value)
    if (said === undefined || !this.session.active) return
    this.bus.set(wireKey(field.key), said, this.nameOf(node))
  }

  /** Whatever changed parameters of the document, a hand, an undo, a preset: the stream hears the difference. */
  private tellDifference(next: ProjectDoc, previous: ProjectDoc): void {
    if (!this.session.active) return
    const running = this.session.store.getState().running
    for (const node of this.chain()) {
      const [now, before] = [next.params[node.id] ?? {}, previous.params[node.id] ?? {}]
      if (now === before || (running && !running.nodes.some(({ nodeId }) => nodeId === node.id))) continue
      for (const field of this.fields(node)) this.tellField(node, field, now, before)
    }
  }

  private tellField(node: ChainNode, field: Field, now: Params, before: Params): void {
    const { pipeline, mode } = node
    if (field.strategyKey) {
      const scales = (own: Params) =>
        scalesOf(adaptersOf(own[field.key], effectiveValue(pipeline, mode, own, field.strategyKey ?? '')))
      const [said, known] = [scales(now), scales(before)]
      // What is not loaded yet waits for a reload, which brings its strength.
      const loaded = said.filter(({ path }) => known.some((it) => it.path === path))
      if (loaded.some((it) => !known.some((old) => deepEqual(it, old)))) {
        this.bus.set('lora_scales', loaded, this.nameOf(node))
      }
    } else if (!field.reload) {
      const [value, old] = [now, before].map((own) => effectiveValue(pipeline, mode, own, field.key))
      if (!deepEqual(value, old)) this.tell(node, field, value)
    }
  }

  /** The name under which messages find a node. */
  private nameOf(node: ChainNode): string | undefined {
    return node.role === 'main' ? this.addressee : node.id
  }

  /** A message to the pipeline itself, kept whole and in order. */
  steer(message: Params): void {
    const node = this.addressee
    if (this.onScreen) this.bus.send(node === undefined ? message : { node_id: node, ...message })
  }

  resetCache(): void {
    if (this.onScreen) this.bus.send({ reset_cache: true })
  }

  /** Whether the document asks for another load than the one that runs. */
  reloadPending(running: LoadPlan | null, doc: ProjectDoc): boolean {
    const chain = this.chain()
    return running !== null && chain.length > 0 && differs(loadPlanFor(doc, chain), running)
  }

  /** What only the session has is fetched before it goes. */
  private async keepShow(): Promise<void> {
    const { sessionId } = this.session.store.getState()
    const noted = sessionId ? this.shows.note(sessionId, 'ended').catch(() => null) : null
    await Promise.all([this.recorder.stop(), noted])
  }

  async applyReload(): Promise<void> {
    await this.keepShow()
    await this.session.restart()
  }

  async setSource(change: Partial<SourceSettings>): Promise<void> {
    changeDoc((doc) => ({ ...doc, source: { ...doc.source, ...change } }))
    const { source } = docStore.getState()
    await this.source.use(source, this.clips.known(source.clip))
  }

  /** Lets the user choose another screen, window or tab. */
  captureAgain(): Promise<void> {
    const { source } = docStore.getState()
    return this.source.use({ ...source }, this.clips.known(source.clip), true)
  }

  /** `asset` is where it lies on the server, if it does. */
  async openClip(file: File, asset?: string): Promise<boolean> {
    if (!(await this.source.accept(file))) return false
    const clip = clipId(file.name, asset ?? file.lastModified)
    this.clips.set(clip, file)
    changeDoc((doc) => ({ ...doc, mode: 'video', source: withClip(doc.source, null) }))
    await this.chooseSource({ ...withClip(docStore.getState().source, clip, asset), kind: 'file' })
    return true
  }

  async screenshot(): Promise<boolean> {
    const [first] = docStore.getState().onAir
    const main = this.chain().find(({ role }) => role === 'main')
    const seed = main && effectiveValue(main.pipeline, main.mode, docStore.getState().params[main.id] ?? {}, SEED)
    const what = { prompt: first?.text ?? '', seed: typeof seed === 'number' ? seed : null }
    const shot = this.onScreen && (await screenshot(this.frames.video, what, this.transport.time()))
    if (!shot) return false
    const url = URL.createObjectURL(shot.data)
    saveAs(url, shot.name)
    setTimeout(() => URL.revokeObjectURL(url), SAVE_MS)
    void this.library.file('screenshot', shot.name, shot.data)
    return true
  }

  async toggleRecording(): Promise<void> {
    const { sessionId, stream } = this.session.store.getState()
    if (this.recorder.store.getState().phase === 'on') await this.recorder.stop()
    else if (this.onScreen && sessionId) {
      // What is there now is told from what is filed later.
      void this.library.assets.refresh()
      await this.recorder.start(sessionId, stream)
    }
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
    void this.rerender.refresh()
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

  /** The pipeline to offer to somebody who has chosen none, or one that is not here. */
  offeredPipeline(): Pipeline | null {
    const { pipelines, status, suggested } = this.catalog.store.getState()
    const id = defaultPipeline(pipelines, docStore.getState().mode, status, suggested)
    return id === null ? null : (pipelines[id] ?? null)
  }

  /** A document without a choice gets one. A choice that the server lacks stays, unless that would stop what is on air. */
  private choosePipeline(): void {
    const { pipelines } = this.catalog.store.getState()
    const { pipelineId, draft, onAir } = docStore.getState()
    const lacking = pipelineId !== null && pipelines[pipelineId] === undefined
    const running = this.session.store.getState().running?.main
    const onward = lacking && this.session.active && running ? running : pipelineId
    const chosen = onward ?? this.offeredPipeline()?.id ?? null
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
    if (next.params !== previous.params && !this.adopting) this.tellDifference(next, previous)
    this.music.docChanged(next, previous)
    if (next.blend !== previous.blend && !this.adopting) this.tellBlend(next)
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

  private tellBlend(doc: ProjectDoc): void {
    const pipeline = this.pipeline()
    const blend = pipeline && blendOf(doc, pipeline)
    if (blend && this.session.active) this.bus.set(BLEND_KEY, blend, this.addressee)
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
        this.recorder.check(next.sessionId, next.stream)
        this.goesLive()
        break
      case 'paused':
        this.music.countIn.cancel()
        this.transport.pause()
        break
      case 'idle':
      case 'failed':
        this.shows.ended()
        this.music.ended()
        this.transport.stop()
        this.recorder.check(null, null)
        this.source.setSending(false)
        this.net.reset()
        this.meters.reset()
        this.health.reset()
        break
      case 'stopping':
        break
      default:
        this.transport.freeze()
        if (next.state === 'stalled') break
        // The connection is made anew, and what waited on the server is gone.
        this.music.ended()
    }
  }

  private goesLive(): void {
    const onAir = () => (this.pipeline()?.supports_prompts ? docStore.getState().onAir : [])
    if (this.transport.current === 'armed') {
      this.transport.thaw()
      this.music.countIn.begin(() => {
        this.transport.firstFrame({ prompts: onAir(), transition: null, cut: 'soft' })
        this.music.align()
      })
    }
    this.transport.resume()
    this.transport.thaw()
    this.music.align()
    // Another pipeline, which takes prompts where the one before did not, or the other way round.
    const live = docStore.getState().blocks.find(({ endMs }) => endMs === null)
    const prompts = onAir()
    if (live && !samePrompts(live.prompts, prompts)) this.transport.take({ prompts, transition: null, cut: 'soft' })
  }

  private receive(message: Params): void {
    const now = performance.now()
    const take = this.music.receive(message)
    if (take) this.nowOnAir(take)
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
    const blend = methodSchema.safeParse(parameters[BLEND_KEY])
    if (blend.success && blend.data !== blendOf(docStore.getState(), pipeline)) {
      this.quietly((doc) => ({ ...doc, blend: blend.data }))
    }
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
    this.quietly((doc) => ({ ...doc, params: { ...doc.params, [node.id]: { ...doc.params[node.id], ...changed } } }))
  }

  /** A change that the server knows of already. */
  private quietly(change: (doc: ProjectDoc) => ProjectDoc): void {
    this.adopting = true
    try {
      changeDoc(change)
    } finally {
      this.adopting = false
    }
  }

  private adoptPrompts(value: unknown): void {
    const parsed = wirePromptsSchema.safeParse(value)
    if (!parsed.success || samePrompts(parsed.data, docStore.getState().onAir)) return
    changeDoc(followAir(parsed.data))
    changeDoc(putOnAir(parsed.data))
    this.transport.take({ prompts: parsed.data, transition: null, cut: 'soft' })
  }

  /** Twice a second: frame rate. Once a second: statistics and history. Nothing while no stream exists. */
  private async measure(): Promise<void> {
    if (!this.session.active) return
    const now = performance.now()
    this.ticks += 1
    if (this.ticks % 2 === 0 || document.hidden) {
      const report = await this.session.stats().catch(() => null)
      // No report means that nothing is known any more, not that nothing has changed.
      this.meters.net = report ? this.net.read(report, now) : NO_STATS
      if (report) this.frames.noteDecoded(this.meters.net.decoded ?? 0, now)
    }
    this.meters.fps = this.session.state === 'live' || this.session.state === 'paused' ? this.frames.rate.value(now) : 0
    if (this.ticks % 2 === 0) this.meters.pushFps(this.meters.fps)
    if (now - this.meters.serverAt > 3000) this.meters.server = null
    if (this.onScreen && this.session.state !== 'paused') this.health.note(this.meters, now)
    this.meters.paint()
  }
}
