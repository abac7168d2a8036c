import { createStore } from 'zustand/vanilla'
import { type Api, assetUrl } from '../api/client'
import type { Asset } from '../api/types'

export interface RecorderState {
  phase: 'off' | 'starting' | 'on' | 'saving'
  since: number
  /** The last finished recording. */
  result: { url: string; name: string; bytes: number } | null
  failed: string | null
}

export interface RecorderDeps {
  /** The server has filed a recording. */
  filed(asset: Asset): void
  /** The received picture was recorded here. */
  made(name: string, data: Blob): void
  /** The session ended under a recording: the server files what it has of it. */
  left(): void
  /** Offers a file to the user. */
  save(url: string, name: string): void
}

type RecorderApi = Pick<Api, 'startRecording' | 'stopRecording'>

/** A megabyte of the server's listings. */
export const MEGABYTE = 1_048_576

/**
 * Records on the server at full quality, which files every recording, however its session ends; where the server cannot,
 * the received picture is recorded here.
 */
export class Recorder {
  readonly store = createStore<RecorderState>(() => ({ phase: 'off', since: 0, result: null, failed: null }))
  private sessionId: string | null = null
  private local: { recorder: MediaRecorder; chunks: Blob[]; stream: MediaStream } | null = null

  constructor(
    private readonly api: RecorderApi,
    private readonly deps: RecorderDeps,
  ) {}

  async start(sessionId: string, stream: MediaStream | null): Promise<void> {
    if (this.store.getState().phase !== 'off') return
    this.store.setState({ phase: 'starting', failed: null })
    try {
      await this.api.startRecording(sessionId)
      this.sessionId = sessionId
    } catch (cause) {
      if (!stream || !this.startLocal(stream)) {
        this.fail(cause)
        return
      }
    }
    this.store.setState({ phase: 'on', since: Date.now() })
  }

  async stop(): Promise<void> {
    if (this.store.getState().phase !== 'on') return
    this.store.setState({ phase: 'saving' })
    const { local, sessionId } = this
    this.local = null
    this.sessionId = null
    try {
      if (local) await this.finishLocal(local)
      else if (sessionId !== null) await this.finish(sessionId)
    } catch (cause) {
      this.fail(cause)
    }
  }

  /** Another session, or none, has taken the place of the one that is recorded. */
  check(sessionId: string | null, stream: MediaStream | null): void {
    if (this.store.getState().phase !== 'on') return
    const { local } = this
    if (local && local.stream !== stream) void this.stop()
    else if (!local && this.sessionId !== sessionId) this.lost()
  }

  private lost(): void {
    this.sessionId = null
    this.store.setState({ phase: 'off' })
    this.deps.left()
  }

  private async finish(sessionId: string): Promise<void> {
    const asset = await this.api.stopRecording(sessionId)
    if (!asset) throw new Error('The server has not kept the recording')
    this.deps.filed(asset)
    const url = assetUrl(asset.path)
    this.done(url, decodeURIComponent(url.split('/').at(-1) ?? asset.name), asset.size_mb * MEGABYTE)
  }

  private async finishLocal({ recorder, chunks }: { recorder: MediaRecorder; chunks: Blob[] }): Promise<void> {
    if (recorder.state !== 'inactive') {
      const stopped = new Promise((resolve) => recorder.addEventListener('stop', resolve, { once: true }))
      recorder.stop()
      await stopped
    }
    const data = new Blob(chunks, { type: recorder.mimeType })
    const previous = this.store.getState().result
    if (previous?.url.startsWith('blob:')) URL.revokeObjectURL(previous.url)
    const stamp = new Date().toISOString().slice(0, 19).replaceAll(/[:T]/g, '-')
    const name = `scope-${stamp}.${data.type.includes('mp4') ? 'mp4' : 'webm'}`
    this.deps.made(name, data)
    this.done(URL.createObjectURL(data), name, data.size)
  }

  private done(url: string, name: string, bytes: number): void {
    this.store.setState({ phase: 'off', result: { url, name, bytes } })
    this.deps.save(url, name)
  }

  private fail(cause: unknown): void {
    this.store.setState({ phase: 'off', failed: cause instanceof Error ? cause.message : String(cause) })
  }

  private startLocal(stream: MediaStream): boolean {
    if (typeof MediaRecorder === 'undefined') return false
    try {
      const recorder = new MediaRecorder(stream, { videoBitsPerSecond: 8_000_000 })
      const chunks: Blob[] = []
      recorder.ondataavailable = (event) => chunks.push(event.data)
      recorder.start(1000)
      this.local = { recorder, chunks, stream }
      return true
    } catch {
      return false
    }
  }
}
