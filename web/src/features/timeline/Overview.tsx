import { type RefObject, useEffect, useRef } from 'react'
import { scope } from '../../app'
import { docStore } from '../../doc/store'
import { blockEnd, COLORS, endOf } from '../../doc/timeline'
import { pressOverview } from './gestures'
import { PAD_PX, viewport } from './view'

const REDRAW_MS = 500

/** All blocks in a strip, with the part in view: the scrollbar of the timeline. Painted, not rendered. */
export function Overview({ line }: { line: RefObject<HTMLDivElement | null> }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const strip = useRef<HTMLDivElement>(null)
  const part = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const node = canvas.current
    const context = node?.getContext('2d')
    if (!node || !context) return
    const styles = getComputedStyle(document.documentElement)
    const color = (n: number) => styles.getPropertyValue(`--color-block-${n}`).trim()
    const palette = Array.from({ length: COLORS }, (_, i) => color(i + 1))
    let dirty = true
    let frame = 0
    const draw = () => {
      const { blocks } = docStore.getState()
      const now = scope.transport.time()
      const end = Math.max(1, endOf(blocks, now))
      const [width, height] = [node.clientWidth * devicePixelRatio, node.clientHeight * devicePixelRatio]
      if (node.width !== width) node.width = width
      if (node.height !== height) node.height = height
      context.clearRect(0, 0, width, height)
      for (const block of blocks) {
        const x = (block.startMs / end) * width
        const right = (blockEnd(block, now) / end) * width
        context.fillStyle = palette[block.color - 1] ?? ''
        context.fillRect(x, 0, Math.max(1, right - x - (right - x > 3 ? 1 : 0)), height)
      }
    }
    const place = () => {
      frame = 0
      if (dirty) draw()
      dirty = false
      if (!part.current) return
      const end = Math.max(1, endOf(docStore.getState().blocks, scope.transport.time())) * viewport.pxPerMs
      const scrolled = viewport.scrolled - PAD_PX
      const from = Math.min(1, Math.max(0, scrolled / end))
      const to = Math.min(1, (scrolled + viewport.width) / end)
      part.current.style.left = `${from * 100}%`
      part.current.style.width = `${(to - from) * 100}%`
      // Where everything is in view, it would only show it twice.
      if (strip.current) strip.current.style.visibility = from === 0 && to === 1 ? 'hidden' : ''
    }
    const look = () => {
      if (frame === 0) frame = requestAnimationFrame(place)
    }
    const redraw = () => {
      dirty = true
      look()
    }
    const stopView = viewport.subscribe(look)
    const stopDoc = docStore.subscribe((next, before) => next.blocks !== before.blocks && redraw())
    const resized = new ResizeObserver(redraw)
    resized.observe(node)
    const timer = setInterval(() => scope.transport.running && redraw(), REDRAW_MS)
    redraw()
    return () => {
      stopView()
      stopDoc()
      resized.disconnect()
      clearInterval(timer)
      cancelAnimationFrame(frame)
    }
  }, [])
  return (
    <div
      ref={strip}
      aria-hidden
      data-testid="timeline-overview"
      onPointerDown={pressOverview}
      className="relative mx-px h-2.5 cursor-pointer touch-none overflow-hidden bg-bg0"
    >
      <canvas ref={canvas} className="absolute inset-0 h-full w-full opacity-70" />
      <div ref={part} className="absolute inset-y-0 min-w-2 rounded-[3px] border border-fg2 bg-fg1/15" />
      <div ref={line} className="absolute inset-y-0 left-0 w-full will-change-transform">
        <div className="h-full w-px bg-accent" />
      </div>
    </div>
  )
}
