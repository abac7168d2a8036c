import type { LatencyTracker } from './latency'

const WINDOW_MS = 2000
const SILENT_MS = 1200

interface Sample {
  at: number
  /** Running count of presented (or, in a hidden page, decoded) frames. */
  count: number
}

/** Frames per second over a sliding window; falls to zero soon after the last frame. */
export class FrameRate {
  private samples: Sample[] = []

  add(at: number, count: number): void {
    const last = this.samples.at(-1)
    if (last && count < last.count) this.samples = []
    this.samples.push({ at, count })
    while ((this.samples[0]?.at ?? at) < at - WINDOW_MS) this.samples.shift()
  }

  value(now: number): number {
    const recent = this.samples.filter((sample) => sample.at >= now - WINDOW_MS)
    const first = recent[0]
    const last = recent.at(-1)
    if (!first || !last || now - last.at > SILENT_MS || last.at <= first.at) return 0
    return ((last.count - first.count) * 1000) / (last.at - first.at)
  }

  reset(): void {
    this.samples = []
  }
}

/** Watches the stage's video element: every presented frame, or decoded ones while the page is hidden. */
export class FrameWatch {
  readonly rate = new FrameRate()
  readonly video: HTMLVideoElement
  private handle: number | null = null
  private decoded = 0

  constructor(
    private readonly latency: LatencyTracker,
    private readonly onFrame: () => void,
  ) {
    this.video = document.createElement('video')
    this.video.muted = true
    this.video.autoplay = true
    this.video.playsInline = true
    this.video.dataset.testid = 'stage-video'
    this.video.setAttribute('aria-hidden', 'true')
  }

  show(stream: MediaStream | null): void {
    if (this.video.srcObject === stream) return
    if (this.handle !== null) this.video.cancelVideoFrameCallback(this.handle)
    this.handle = null
    this.rate.reset()
    this.latency.reset()
    this.decoded = 0
    this.video.srcObject = stream
    if (!stream) return
    void this.video.play().catch(() => undefined)
    this.next()
  }

  /** `framesDecoded` from the receiver's statistics: the only witness while the page is hidden. */
  noteDecoded(framesDecoded: number, now: number): void {
    const fresh = framesDecoded > this.decoded
    this.decoded = framesDecoded
    if (!fresh || !document.hidden) return
    this.rate.add(now, framesDecoded)
    this.onFrame()
  }

  private next(): void {
    this.handle = this.video.requestVideoFrameCallback((now, metadata) => {
      this.rate.add(now, metadata.presentedFrames)
      this.latency.presented(metadata.rtpTimestamp, metadata.expectedDisplayTime || now)
      this.onFrame()
      this.next()
    })
  }
}
