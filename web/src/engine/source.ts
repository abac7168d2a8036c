import { createStore } from 'zustand/vanilla'
import type { SourceSettings } from '../doc/model'
import type { Size } from '../schema/resolution'
import { cropRect } from './crop'

export const BUNDLED_CLIP = '/cat.mp4'
const HIDDEN_TICK_MS = 50

export type SourceErrorCode =
  | 'camera_denied'
  | 'camera_busy'
  | 'camera_none'
  | 'camera_failed'
  | 'not_video'
  | 'unplayable'

export interface SourceState {
  status: 'starting' | 'ready' | 'failed'
  error: SourceErrorCode | null
  /** An upload that was refused; the running source goes on. */
  uploadError: SourceErrorCode | null
  cameras: { id: string; label: string }[]
  width: number
  height: number
}

function cameraError(cause: unknown): SourceErrorCode {
  const name = cause instanceof DOMException ? cause.name : ''
  if (name === 'NotAllowedError' || name === 'SecurityError') return 'camera_denied'
  if (name === 'NotReadableError' || name === 'AbortError') return 'camera_busy'
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return 'camera_none'
  return 'camera_failed'
}

/**
 * The picture we send. Whatever is chosen plays in one `<video>`; each of its frames is drawn, cropped to the size in
 * use, on one canvas whose track goes to the server. So file, camera and size change while live without negotiation.
 */
export class Source {
  readonly store = createStore<SourceState>(() => ({
    status: 'starting',
    error: null,
    uploadError: null,
    cameras: [],
    width: 0,
    height: 0,
  }))
  readonly video: HTMLVideoElement
  private readonly canvas = document.createElement('canvas')
  private readonly context = this.canvas.getContext('2d', { alpha: false, desynchronized: true })
  private stream: MediaStream | null = null
  private camera: MediaStream | null = null
  private objectUrl: string | null = null
  private size: Size = { width: 512, height: 512 }
  private settings: SourceSettings | null = null
  private generation = 0
  private sending = false
  private worker: Worker | null = null

  constructor() {
    this.video = document.createElement('video')
    this.video.muted = true
    this.video.loop = true
    this.video.autoplay = true
    this.video.playsInline = true
    this.video.dataset.testid = 'input-preview'
    this.video.addEventListener('resize', () => this.measured())
    this.video.addEventListener('loadedmetadata', () => this.measured())
    this.canvas.width = this.size.width
    this.canvas.height = this.size.height
    document.addEventListener('visibilitychange', () => this.updateTicker())
    navigator.mediaDevices?.addEventListener?.('devicechange', () => void this.listCameras())
    this.watchFrames()
  }

  /** The track to send; the same one for the life of the page. */
  track(): MediaStreamTrack | null {
    this.stream ??= this.canvas.captureStream(0)
    this.draw()
    return this.stream.getVideoTracks()[0] ?? null
  }

  /** While nothing is sent nothing is drawn. */
  setSending(sending: boolean): void {
    this.sending = sending
    this.updateTicker()
  }

  setSize(size: Size): void {
    if (this.size.width === size.width && this.size.height === size.height) return
    this.size = size
    this.canvas.width = size.width
    this.canvas.height = size.height
    this.draw()
  }

  /** Switches to what the settings say. `clip` is the user's own file when they name one. */
  async use(settings: SourceSettings, clip: Blob | null): Promise<void> {
    const before = this.settings
    this.settings = settings
    const sameInput =
      before !== null &&
      before.kind === settings.kind &&
      (settings.kind === 'camera' ? before.deviceId === settings.deviceId : before.clip === settings.clip)
    if (sameInput && this.store.getState().status === 'ready') return
    const generation = ++this.generation
    this.store.setState({ status: 'starting', error: null })
    try {
      if (settings.kind === 'camera') await this.openCamera(settings.deviceId, generation)
      else await this.openFile(clip, generation)
      if (generation === this.generation) this.store.setState({ status: 'ready', error: null })
    } catch (cause) {
      if (generation !== this.generation) return
      const error = settings.kind === 'camera' ? cameraError(cause) : 'unplayable'
      this.store.setState({ status: 'failed', error })
    }
  }

  /** Tries a file before it replaces anything: true when the browser can play it. */
  async accept(file: File): Promise<boolean> {
    const refused = (uploadError: SourceErrorCode) => {
      this.store.setState({ uploadError })
      return false
    }
    if (!file.type.startsWith('video/')) return refused('not_video')
    const url = URL.createObjectURL(file)
    try {
      const probe = document.createElement('video')
      probe.muted = true
      probe.preload = 'metadata'
      probe.src = url
      await loaded(probe)
      this.store.setState({ uploadError: null })
      return true
    } catch {
      return refused('unplayable')
    } finally {
      URL.revokeObjectURL(url)
    }
  }

  private async openFile(clip: Blob | null, generation: number): Promise<void> {
    const url = clip ? URL.createObjectURL(clip) : null
    if (generation !== this.generation) return
    this.closeCamera()
    if (this.objectUrl) URL.revokeObjectURL(this.objectUrl)
    this.objectUrl = url
    this.video.srcObject = null
    this.video.src = url ?? BUNDLED_CLIP
    await loaded(this.video)
    await this.video.play().catch(() => undefined)
  }

  private async openCamera(deviceId: string | null, generation: number): Promise<void> {
    if (!navigator.mediaDevices) throw new DOMException('No camera access in this context', 'NotFoundError')
    const ideal = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } }
    const stream = await navigator.mediaDevices.getUserMedia({
      video: deviceId ? { ...ideal, deviceId: { exact: deviceId } } : ideal,
      audio: false,
    })
    if (generation !== this.generation) {
      for (const track of stream.getTracks()) track.stop()
      return
    }
    this.closeCamera()
    this.camera = stream
    this.video.removeAttribute('src')
    this.video.srcObject = stream
    stream.getVideoTracks()[0]?.addEventListener('ended', () => {
      if (this.camera === stream) this.store.setState({ status: 'failed', error: 'camera_busy' })
    })
    await loaded(this.video)
    await this.video.play().catch(() => undefined)
    await this.listCameras()
  }

  private async listCameras(): Promise<void> {
    const devices = await navigator.mediaDevices?.enumerateDevices().catch(() => [])
    const cameras = (devices ?? [])
      .filter((device) => device.kind === 'videoinput' && device.deviceId !== '')
      .map((device, index) => ({ id: device.deviceId, label: device.label || `Camera ${index + 1}` }))
    this.store.setState({ cameras })
  }

  private closeCamera(): void {
    for (const track of this.camera?.getTracks() ?? []) track.stop()
    this.camera = null
  }

  private measured(): void {
    this.store.setState({ width: this.video.videoWidth, height: this.video.videoHeight })
  }

  private watchFrames(): void {
    this.video.requestVideoFrameCallback(() => {
      if (this.sending) this.draw()
      this.watchFrames()
    })
  }

  /** A hidden page gets no frame callbacks, so a worker's clock draws there. */
  private updateTicker(): void {
    if (this.sending && document.hidden) {
      this.worker ??= new Worker(new URL('./ticker.worker.ts', import.meta.url), { type: 'module' })
      this.worker.onmessage = () => this.draw()
      this.worker.postMessage(HIDDEN_TICK_MS)
    } else {
      this.worker?.postMessage(0)
    }
  }

  private draw(): void {
    const { context, video, size, settings } = this
    if (!context || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || video.videoWidth === 0) return
    const from = { width: video.videoWidth, height: video.videoHeight }
    const { source, target } = cropRect(from, size, settings?.fit ?? 'cover')
    context.setTransform(1, 0, 0, 1, 0, 0)
    if (settings?.fit === 'contain') context.fillRect(0, 0, size.width, size.height)
    if (settings?.mirror) context.setTransform(-1, 0, 0, 1, size.width, 0)
    context.drawImage(
      video,
      source.x,
      source.y,
      source.width,
      source.height,
      target.x,
      target.y,
      target.width,
      target.height,
    )
    const [track] = this.stream?.getVideoTracks() ?? []
    ;(track as CanvasCaptureMediaStreamTrack | undefined)?.requestFrame?.()
  }
}

function loaded(video: HTMLVideoElement): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish(() => reject(new Error('no picture within 10 s'))), 10_000)
    const finish = (settle: () => void) => {
      clearTimeout(timer)
      video.removeEventListener('loadeddata', ok)
      video.removeEventListener('error', bad)
      settle()
    }
    const ok = () => finish(resolve)
    const bad = () => finish(() => reject(new Error('not playable')))
    video.addEventListener('loadeddata', ok)
    video.addEventListener('error', bad)
    if (video.preload === 'metadata') video.addEventListener('loadedmetadata', ok, { once: true })
  })
}
