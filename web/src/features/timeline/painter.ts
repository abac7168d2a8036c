import { scope } from '../../app'
import { docStore } from '../../doc/store'
import { barAndBeat, beatsAt } from '../../doc/tempo'
import { endOf } from '../../doc/timeline'
import { clock } from '../../ui/format'
import { view, viewport } from './view'

/** Moves the playhead, grows the live block, writes the time and follows: one animation frame, no React. */

/** Beyond this part of the visible width, following brings the playhead back to the other. */
const FOLLOW_BEYOND = 0.8
const FOLLOW_TO = 0.5
const TEXT_MS = 250
const LEAST_LIVE_PX = 4

/** Bar and beat of a time, nothing while there is no tempo. */
function barsText(ms: number): string {
  const { tempo } = docStore.getState()
  if (!tempo.on) return ''
  const { bar, beat } = barAndBeat(beatsAt(ms, tempo), tempo.beatsPerBar)
  return `${bar}:${beat}`
}

interface Parts {
  content: HTMLElement
  playhead: HTMLElement
  time: HTMLElement
  /** Bar and beat. */
  bars: HTMLElement
  /** The line of the playhead in the overview. */
  overview: HTMLElement
}

export function startPainter({ content, playhead, time, bars, overview }: Parts): () => void {
  let frame = 0
  let lastText = 0
  let wasRunning = false
  /** Somebody looks elsewhere: follow again once the playhead is in view. */
  let away = false
  let ours = 0
  const paint = (now: number) => {
    const { running } = scope.transport
    frame = running ? requestAnimationFrame(paint) : 0
    const ms = scope.transport.time()
    const x = ms * viewport.pxPerMs
    playhead.style.transform = `translateX(${x}px)`
    const live = content.querySelector<HTMLElement>('[data-live="true"]')
    if (live) live.style.width = `${Math.max(LEAST_LIVE_PX, x - Number(live.dataset.start) * viewport.pxPerMs)}px`
    viewport.layout()
    if (running && !wasRunning) away = false
    wasRunning = running
    const { scrolled, width } = viewport
    if (running && view().follow && !away && (x > scrolled + width * FOLLOW_BEYOND || x < scrolled)) {
      viewport.scrollTo(x - width * FOLLOW_TO)
      ours = viewport.scrolled
    }
    overview.style.transform = `translateX(${(ms / Math.max(1, endOf(docStore.getState().blocks, ms))) * overview.offsetWidth}px)`
    const place = barsText(ms)
    if (bars.textContent !== place) bars.textContent = place
    if (now - lastText > TEXT_MS || !running) {
      lastText = now
      const text = clock(ms)
      time.textContent = text
      playhead.setAttribute('aria-valuemax', String(Math.ceil(endOf(docStore.getState().blocks, ms) / 1000)))
      playhead.setAttribute('aria-valuenow', String(Math.round(ms / 100) / 10))
      playhead.setAttribute('aria-valuetext', text)
    }
  }
  const kick = () => {
    if (frame === 0) frame = requestAnimationFrame(paint)
  }
  const stopTransport = scope.transport.subscribe(kick)
  const stopDoc = docStore.subscribe(
    (next, before) => (next.blocks !== before.blocks || next.tempo !== before.tempo) && kick(),
  )
  const stopView = viewport.subscribe(() => {
    const { scrolled, width } = viewport
    const x = scope.transport.time() * viewport.pxPerMs
    if (Math.abs(scrolled - ours) > 2) away = x < scrolled || x > scrolled + width
    ours = scrolled
    kick()
  })
  kick()
  return () => {
    cancelAnimationFrame(frame)
    stopTransport()
    stopDoc()
    stopView()
  }
}
