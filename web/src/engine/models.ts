import { createStore } from 'zustand/vanilla'
import type { Api, ModelNeed } from '../api/client'
import type { Download, DownloadEvent, FileState, Model, ModelFile, Verification } from '../api/types'
import { sessionError } from './errors'
import { remember } from './memory'

/** The files of models: what is there, what is coming, what is to be done. The server knows it all; this is its mirror. */

/** What a pipeline's settings need of its files. */
export interface Files {
  state: FileState
  /** Bytes there, bytes in all, bytes to fetch. */
  bytes: number
  total: number
  missing: number
  /** Else they are estimates. */
  exact: boolean
}

export interface Check {
  running: boolean
  found: readonly Verification[]
}

export interface ModelsState {
  models: Record<string, Model>
  /** Bytes that downloads may take; null when nobody knows. */
  room: number | null
  /** What the server refused to begin, by pipeline. */
  refused: Record<string, string>
  checks: Record<string, Check>
  /** The pipeline that starts when its files are there. */
  startAfter: string | null
}

/** Files that other programs like to find next to those that we need. */
const COMPANION = 'companion'
const WISH_KEY = 'scope.startAfter'

function belongs(file: ModelFile, need: ModelNeed): boolean {
  const { vae_type: vae, vace, model_size: size } = file.when
  const suits = <T>(wanted: T | undefined, has: T) => wanted === undefined || wanted === has
  return suits(vae, need.vaeType) && suits(vace, need.vace) && suits(size, need.modelSize)
}

/** The files that these settings need. */
export function filesFor(model: Model, need: ModelNeed): ModelFile[] {
  return model.files.filter((file) => file.role !== COMPANION && belongs(file, need))
}

function stateOf(files: readonly ModelFile[]): FileState {
  if (files.some((file) => file.state === 'damaged')) return 'damaged'
  if (files.every((file) => file.state === 'complete')) return 'complete'
  return files.every((file) => file.state === 'missing') ? 'missing' : 'partial'
}

export function filesOf(model: Model, need: ModelNeed): Files {
  const files = filesFor(model, need)
  const sum = (of: (file: ModelFile) => number) => files.reduce((all, file) => all + of(file), 0)
  return {
    state: stateOf(files),
    bytes: sum((file) => file.bytes),
    total: sum((file) => file.size ?? file.bytes),
    missing: sum((file) => (file.state === 'complete' ? 0 : Math.max(0, (file.size ?? 0) - file.bytes))),
    exact: model.sizes_are_exact,
  }
}

export function isRunning(download: Download | null | undefined): download is Download {
  return download?.is_downloading === true
}

/** Several downloads as one: their bytes and rates together, and the longest wait. */
export function together(downloads: readonly Download[]): Download {
  const sum = (of: (download: Download) => number | null | undefined) =>
    downloads.reduce((all, download) => all + (of(download) ?? 0), 0)
  const known = (of: (download: Download) => number | null | undefined) =>
    downloads.map(of).filter((value): value is number => typeof value === 'number')
  const [done, total] = [sum((it) => it.downloaded_bytes), sum((it) => it.total_bytes)]
  const rates = known((it) => it.bytes_per_second)
  const times = known((it) => it.eta_seconds)
  return {
    is_downloading: downloads.some(isRunning),
    state: downloads.find((it) => it.state === 'downloading')?.state ?? downloads[0]?.state,
    percentage: total > 0 ? (done / total) * 100 : 0,
    downloaded_bytes: done,
    total_bytes: total,
    bytes_per_second: rates.length > 0 ? rates.reduce((a, b) => a + b) : null,
    eta_seconds: times.length === downloads.length && times.length > 0 ? Math.max(...times) : null,
    current_artifact: downloads.find((it) => it.current_artifact)?.current_artifact,
    waiting_for: downloads.find((it) => it.waiting_for)?.waiting_for,
  }
}

type ModelsApi = Pick<Api, 'models' | 'downloadModels' | 'cancelDownload' | 'verifyModels' | 'removeModels'>

export class Models {
  readonly store
  /** A download is over, however it ended; what is there is known. */
  onEnded: (pipelineId: string) => void = () => undefined
  /** Downloads whose end somebody waits for. */
  private readonly watched = new Set<string>()
  private asking: Promise<void> | null = null
  private askAgain = false
  /** An answer has come. */
  private known = false

  constructor(
    private readonly api: ModelsApi,
    private readonly memory: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>,
  ) {
    const startAfter = memory.getItem(WISH_KEY)
    this.store = createStore<ModelsState>(() => ({ models: {}, room: null, refused: {}, checks: {}, startAfter }))
  }

  /** Asks for the state of all files; while an answer is awaited, once more after it. */
  refresh(): Promise<void> {
    if (this.asking) {
      this.askAgain = true
      return this.asking
    }
    this.asking = this.ask().finally(() => {
      this.asking = null
    })
    return this.asking
  }

  private async ask(): Promise<void> {
    do {
      this.askAgain = false
      const list = await this.api.models().catch(() => null)
      if (!list) continue
      const models = Object.fromEntries(list.models.map((model) => [model.pipeline_id, model]))
      this.store.setState({ models, room: list.room_bytes ?? null })
    } while (this.askAgain)
    for (const [id, model] of Object.entries(this.store.getState().models)) {
      if (isRunning(model.progress)) this.watched.add(id)
      else if (this.watched.delete(id)) this.onEnded(id)
    }
    const { startAfter, models } = this.store.getState()
    if (this.known || Object.keys(models).length === 0) return
    this.known = true
    // A wish from before the page was reloaded may have come true meanwhile, or been given up elsewhere.
    if (startAfter !== null && this.watched.size === 0) this.onEnded(startAfter)
  }

  /** The server tells how far a download is, and how it ended. */
  async heard({ pipeline_id: id, progress }: DownloadEvent): Promise<void> {
    this.change(id, { progress: progress ?? null })
    if (isRunning(progress)) this.watched.add(id)
    else if (this.watched.has(id)) await this.refresh()
  }

  /** Fetches what is missing; `start`: the pipeline that is to start when it is there. */
  async download(needs: readonly ModelNeed[], start: string | null = null): Promise<void> {
    if (start !== null) this.wish(start)
    for (const need of needs) {
      this.refuse(need.pipelineId, null)
      try {
        await this.api.downloadModels(need)
        this.watched.add(need.pipelineId)
      } catch (cause) {
        const { code, message } = sessionError(cause)
        if (code !== 'download_running') this.refuse(need.pipelineId, message)
      }
    }
    await this.refresh()
  }

  /** What was fetched stays. */
  async cancel(pipelineIds: readonly string[]): Promise<void> {
    this.wish(null)
    // One that has just ended by itself is no longer there to be ended.
    await Promise.all(pipelineIds.map((id) => this.api.cancelDownload(id).catch(() => undefined)))
    await this.refresh()
  }

  /** Makes room on the disk. What is loaded stays, and says so. */
  async remove(pipelineId: string): Promise<void> {
    this.refuse(pipelineId, null)
    await this.api.removeModels(pipelineId).catch((cause) => this.refuse(pipelineId, sessionError(cause).message))
    this.store.setState(({ checks }) => {
      const { [pipelineId]: _, ...others } = checks
      return { checks: others }
    })
    await this.refresh()
  }

  async verify(pipelineId: string): Promise<void> {
    const put = (check: Check) => this.store.setState(({ checks }) => ({ checks: { ...checks, [pipelineId]: check } }))
    this.refuse(pipelineId, null)
    put({ running: true, found: [] })
    try {
      put({ running: false, found: await this.api.verifyModels(pipelineId) })
    } catch (cause) {
      put({ running: false, found: [] })
      this.refuse(pipelineId, sessionError(cause).message)
    }
    await this.refresh()
  }

  /** What is to start when its files are there; null for nothing. */
  wish(startAfter: string | null): void {
    if (startAfter === null) this.memory.removeItem(WISH_KEY)
    else remember(WISH_KEY, startAfter, () => this.memory)
    this.store.setState({ startAfter })
  }

  private change(id: string, change: Partial<Model>): void {
    this.store.setState(({ models }) => {
      const model = models[id]
      return model ? { models: { ...models, [id]: { ...model, ...change } } } : {}
    })
  }

  private refuse(id: string, message: string | null): void {
    this.store.setState(({ refused }) => {
      const { [id]: _, ...others } = refused
      return { refused: message === null ? others : { ...others, [id]: message } }
    })
  }
}
