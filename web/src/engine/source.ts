import { createStore } from 'zustand/vanilla'
import type { SourceSettings } from '../doc/model'
import type { Size } from '../schema/resolution'
import { cropRect } from './crop'

export const BUNDLED_CLIP = '/cat.mp4'
const HIDDEN_TICK_MS = 50
/** Heights that cameras are asked for, when they have them. */
export const CAMERA_HEIGHTS: readonly number[] = [360, 480, 720, 1080]
const USUAL_HEIGHT = 720

export type SourceErrorCode =
  | 'camera_denied'
  | 'camera_busy'
  | 'camera_none'
  | 'camera_failed'
  | 'screen_denied'
  | 'screen_failed'
  | 'screen_ended'
  | 'not_video'
  | 'unplayable'

export interface SourceState {
  status: 'starting' | 'ready' | 'failed'
  error: SourceErrorCode | null
  /** An upload that was refused; the running source goes on. */
  uploadError: SourceErrorCode | null
  cameras: { id: string; label: string }[]
  /** The most lines that the camera in use has; null while nobody knows. */
  cameraLimit: number | null
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

function screenError(cause: unknown): SourceErrorCode {
  if (cause instanceof ScreenEnded) return 'screen_ended'
  const name = cause instanceof DOMException ? cause.name : ''
  return name === 'NotAllowedError' || name === 'AbortError' ? 'screen_denied' : 'screen_failed'
}

const ERRORS: Record<SourceSettings['kind'], (cause: unknown) => SourceErrorCode> = {
  file: () => 'unplayable',
  camera: cameraError,
  screen: screenError,
}

/** What was captured is gone, and only a person can choose again what is shown to others. */
class ScreenEnded extends Error {}

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
    cameraLimit: null,
    width: 0,
    height: 0,
  }))
  readonly video: HTMLVideoElement
  private readonly canvas = document.createElement('canvas')
  private readonly context = this.canvas.getContext('2d', { alpha: false, desynchronized: true })
  private stream: MediaStream | null = null
  private capture: MediaStream | null = null
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

  /** Switches to what the settings say. `clip` is the user's own file when they name one; `anew` opens it once more. */
  async use(settings: SourceSettings, clip: Blob | null, anew = false): Promise<void> {
    const before = this.settings
    this.settings = settings
    const sameInput =
      before !== null &&
      before.kind === settings.kind &&
      (settings.kind === 'camera' ? before.deviceId === settings.deviceId : before.clip === settings.clip)
    if (sameInput && !anew && this.store.getState().status === 'ready') {
      if (before.cameraHeight !== settings.cameraHeight) await this.resizeCamera(settings.cameraHeight)
      return
    }
    const generation = ++this.generation
    this.store.setState({ status: 'starting', error: null })
    try {
      if (settings.kind === 'camera') await this.openCamera(settings, generation)
      else if (settings.kind === 'screen') await this.openScreen(generation, before === null)
      else await this.openFile(clip, generation)
      if (generation === this.generation) this.store.setState({ status: 'ready', error: null })
    } catch (cause) {
      if (generation !== this.generation) return
      this.store.setState({ status: 'failed', error: ERRORS[settings.kind](cause) })
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
    this.closeCapture()
    if (this.objectUrl) URL.revokeObjectURL(this.objectUrl)
    this.objectUrl = url
    this.video.srcObject = null
    this.video.src = url ?? BUNDLED_CLIP
    await loaded(this.video)
    await this.video.play().catch(() => undefined)
  }

  private async openCamera({ deviceId, cameraHeight }: SourceSettings, generation: number): Promise<void> {
    if (!navigator.mediaDevices) throw new DOMException('No camera access in this context', 'NotFoundError')
    const ideal = cameraSize(cameraHeight)
    const stream = await navigator.mediaDevices.getUserMedia({
      video: deviceId ? { ...ideal, deviceId: { exact: deviceId } } : ideal,
      audio: false,
    })
    await this.play(stream, generation, 'camera_busy')
    const limit = stream.getVideoTracks()[0]?.getCapabilities?.().height?.max ?? null
    if (this.capture === stream) this.store.setState({ cameraLimit: limit })
    await this.listCameras()
  }

  /** Another size without a gap. A camera that cannot do it goes on as it is. */
  private async resizeCamera(height: number | null): Promise<void> {
    const [track] = this.capture?.getVideoTracks() ?? []
    if (this.settings?.kind !== 'camera') return
    await track?.applyConstraints(cameraSize(height)).catch(() => undefined)
  }

  /** A screen, window or tab. The browser asks which, so this is only done when a person has just chosen it. */
  private async openScreen(generation: number, restored: boolean): Promise<void> {
    if (restored) throw new ScreenEnded()
    if (!navigator.mediaDevices?.getDisplayMedia) throw new DOMException('No screen capture here', 'NotSupportedError')
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 30 } }, audio: false })
    await this.play(stream, generation, 'screen_ended')
  }

  /** Shows a captured stream; `ended` is what is wrong when it ends by itself. */
  private async play(stream: MediaStream, generation: number, ended: SourceErrorCode): Promise<void> {
    if (generation !== this.generation) {
      for (const track of stream.getTracks()) track.stop()
      return
    }
    this.closeCapture()
    this.capture = stream
    this.video.removeAttribute('src')
    this.video.srcObject = stream
    stream.getVideoTracks()[0]?.addEventListener('ended', () => {
      if (this.capture === stream) this.store.setState({ status: 'failed', error: ended })
    })
    await loaded(this.video)
    await this.video.play().catch(() => undefined)
  }

  private async listCameras(): Promise<void> {
    const devices = await navigator.mediaDevices?.enumerateDevices().catch(() => [])
    const cameras = (devices ?? [])
      .filter((device) => device.kind === 'videoinput' && device.deviceId !== '')
      .map((device, index) => ({ id: device.deviceId, label: device.label || `Camera ${index + 1}` }))
    this.store.setState({ cameras })
  }

  private closeCapture(): void {
    for (const track of this.capture?.getTracks() ?? []) track.stop()
    this.capture = null
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
    if (settings?.mirror && settings.kind === 'camera') context.setTransform(-1, 0, 0, 1, size.width, 0)
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

/** In the shape that most cameras have; the nearest they can do is what comes. */
function cameraSize(height: number | null): MediaTrackConstraints {
  const lines = height ?? USUAL_HEIGHT
  return { width: { ideal: Math.round((lines * 16) / 9) }, height: { ideal: lines }, frameRate: { ideal: 30 } }
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
