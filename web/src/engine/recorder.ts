import { createStore } from 'zustand/vanilla'
import type { Api } from '../api/client'

export interface RecorderState {
  phase: 'off' | 'starting' | 'on' | 'saving'
  since: number
  /** The last finished recording, kept until the next one. */
  result: { url: string; name: string; bytes: number } | null
  failed: string | null
}

type RecorderApi = Pick<Api, 'startRecording' | 'stopRecording' | 'recording'>

/** Records on the server at full quality; where the server cannot, the received picture is recorded here. */
export class Recorder {
  readonly store = createStore<RecorderState>(() => ({ phase: 'off', since: 0, result: null, failed: null }))
  private sessionId: string | null = null
  private local: { recorder: MediaRecorder; chunks: Blob[] } | null = null

  constructor(
    private readonly api: RecorderApi,
    private readonly save: (url: string, name: string) => void,
  ) {}

  async start(sessionId: string, stream: MediaStream | null): Promise<void> {
    if (this.store.getState().phase !== 'off') return
    this.store.setState({ phase: 'starting', failed: null })
    try {
      await this.api.startRecording(sessionId)
      this.sessionId = sessionId
    } catch (cause) {
      if (!stream || !this.startLocal(stream)) {
        this.store.setState({ phase: 'off', failed: cause instanceof Error ? cause.message : String(cause) })
        return
      }
    }
    this.store.setState({ phase: 'on', since: Date.now() })
  }

  async stop(): Promise<void> {
    if (this.store.getState().phase !== 'on') return
    this.store.setState({ phase: 'saving' })
    try {
      const blob = await this.finish()
      const previous = this.store.getState().result
      if (previous) URL.revokeObjectURL(previous.url)
      const extension = blob.type.includes('webm') ? 'webm' : 'mp4'
      const stamp = new Date().toISOString().slice(0, 19).replaceAll(':', '-').replace('T', '-')
      const result = { url: URL.createObjectURL(blob), name: `scope-${stamp}.${extension}`, bytes: blob.size }
      this.store.setState({ phase: 'off', result })
      this.save(result.url, result.name)
    } catch (cause) {
      this.store.setState({ phase: 'off', failed: cause instanceof Error ? cause.message : String(cause) })
    }
  }

  /** The session died with its recording; nothing can be fetched any more. */
  lost(): void {
    if (this.store.getState().phase === 'off') return
    this.sessionId = null
    this.local?.recorder.stop()
    this.local = null
    this.store.setState({ phase: 'off' })
  }

  private async finish(): Promise<Blob> {
    const { local, sessionId } = this
    this.local = null
    this.sessionId = null
    if (local) {
      const stopped = new Promise((resolve) => local.recorder.addEventListener('stop', resolve, { once: true }))
      local.recorder.stop()
      await stopped
      return new Blob(local.chunks, { type: local.recorder.mimeType })
    }
    if (!sessionId) throw new Error('Nothing was recorded')
    await this.api.stopRecording(sessionId)
    return this.api.recording(sessionId)
  }

  private startLocal(stream: MediaStream): boolean {
    if (typeof MediaRecorder === 'undefined') return false
    try {
      const recorder = new MediaRecorder(stream, { videoBitsPerSecond: 8_000_000 })
      const chunks: Blob[] = []
      recorder.ondataavailable = (event) => chunks.push(event.data)
      recorder.start(1000)
      this.local = { recorder, chunks }
      return true
    } catch {
      return false
    }
  }
}
