import { createStore } from 'zustand/vanilla'
import type { Api } from '../api/client'
import { type Render, renderSchema } from '../api/renders'
import {
  type DownloadEvent,
  downloadEventSchema,
  type LoraProgress,
  loraProgressSchema,
  type Mode,
  type Pipeline,
  type PipelineStatus,
} from '../api/types'
import { sessionError } from './errors'

export interface CatalogState {
  phase: 'loading' | 'token' | 'offline' | 'ready'
  pipelines: Record<string, Pipeline>
  /** The pipeline that the server suggests to those who have not chosen. */
  suggested: string | null
  status: PipelineStatus | null
  version: string
}

const RETRY_MS = 2000

/** Pipelines that make pictures by themselves, as opposed to those that only process others' input or output. */
export function mainPipelines(pipelines: Record<string, Pipeline>): Pipeline[] {
  return Object.values(pipelines).filter((pipeline) => pipeline.usage.length === 0)
}

/**
 * What to start with: what the server already holds, else what it suggests, else the first prompted pipeline of the mode,
 * else passthrough.
 */
export function defaultPipeline(
  pipelines: Record<string, Pipeline>,
  mode: Mode,
  status: PipelineStatus | null,
  suggested: string | null = null,
): string | null {
  const main = mainPipelines(pipelines)
  const held = [status?.pipeline_id, ...(status?.pipelines ?? []).map((node) => node.pipeline_id)]
  const loaded = main.find(({ id }) => held.includes(id))
  if (loaded && status?.status !== 'not_loaded') return loaded.id
  if (suggested !== null && pipelines[suggested]) return suggested
  const prompted = main.find((pipeline) => pipeline.supports_prompts && pipeline.supported_modes.includes(mode))
  return (prompted ?? pipelines.passthrough ?? main[0])?.id ?? null
}

/** What the server offers, and whether this page may use it. */
export class Catalog {
  readonly store = createStore<CatalogState>(() => ({
    phase: 'loading',
    pipelines: {},
    suggested: null,
    status: null,
    version: '',
  }))
  /** An adapter is being installed, by whomever. */
  onLora: (progress: LoraProgress) => void = () => undefined
  /** A show is being rendered again, by whomever. */
  onRender: (render: Render) => void = () => undefined
  private events: EventSource | null = null
  private retry: ReturnType<typeof setTimeout> | undefined

  constructor(
    private readonly api: Api,
    private readonly onReady: () => void,
    private readonly onServerSuspect: () => void,
    private readonly onDownload: (event: DownloadEvent) => void,
  ) {}

  async load(): Promise<void> {
    clearTimeout(this.retry)
    try {
      if (!(await this.api.authorized())) {
        this.store.setState({ phase: 'token' })
        return
      }
      const [offer, status, health] = await Promise.all([
        this.api.pipelines(),
        this.api.status().catch(() => null),
        this.api.health(),
      ])
      this.store.setState({ phase: 'ready', ...offer, status, version: health.version })
      this.listen()
      this.onReady()
    } catch (cause) {
      const needsToken = sessionError(cause).code === 'token_required'
      this.store.setState({ phase: needsToken ? 'token' : 'offline' })
      if (!needsToken) this.retry = setTimeout(() => void this.load(), RETRY_MS)
    }
  }

  async sendToken(token: string): Promise<void> {
    await this.api.sendToken(token)
    await this.load()
  }

  /** The server pushes pipeline changes; the stream breaking is the earliest sign that it has gone. */
  private listen(): void {
    if (this.events || typeof EventSource === 'undefined') return
    const events = new EventSource('/api/v1/events')
    this.events = events
    let opened = false
    let broken = false
    events.onopen = () => {
      if (broken) void this.load()
      opened = true
      broken = false
    }
    events.onerror = () => {
      // A server without this route answers 404 and the browser gives up by itself.
      if (!opened) return
      broken = true
      this.store.setState({ phase: 'offline' })
      this.onServerSuspect()
      if (events.readyState !== EventSource.CLOSED) return
      events.close()
      this.events = null
      this.retry = setTimeout(() => void this.load(), RETRY_MS)
    }
    events.addEventListener('pipeline_status', (event) => {
      try {
        this.store.setState({ status: JSON.parse(event.data) as PipelineStatus })
      } catch {
        // The next event brings a whole status again.
      }
    })
    events.addEventListener('lora_download', (event) => {
      try {
        this.onLora(loraProgressSchema.parse(JSON.parse(event.data)))
      } catch {
        // The answer to the request says how it ended.
      }
    })
    events.addEventListener('renders', (event) => {
      try {
        this.onRender(renderSchema.parse(JSON.parse(event.data)))
      } catch {
        // The next event says all of it again.
      }
    })
    events.addEventListener('models', (event) => {
      try {
        this.onDownload(downloadEventSchema.parse(JSON.parse(event.data)))
      } catch {
        // Each event says all that there is to say about a download.
      }
    })
  }
}
