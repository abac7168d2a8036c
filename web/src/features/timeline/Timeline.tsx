import { Scissors, Trash2, ZoomIn, ZoomOut } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import { notify, scope } from '../../app'
import type { Block } from '../../doc/model'
import { promptLabel, setDraft } from '../../doc/prompts'
import { changeDoc, docStore } from '../../doc/store'
import { endOf } from '../../doc/timeline'
import { useDoc, useSession } from '../../hooks'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { clock, minutes } from '../../ui/format'
import { Ruler } from './Ruler'

const MIN_SCALE = 2
const MAX_SCALE = 160
const DEFAULT_SCALE = 24
/** Where the playhead is kept while following, as a part of the visible width. */
const FOLLOW_AT = 0.8
const WIDTH_STEP = 240

const COLORS = [
  'bg-block-1',
  'bg-block-2',
  'bg-block-3',
  'bg-block-4',
  'bg-block-5',
  'bg-block-6',
  'bg-block-7',
  'bg-block-8',
]

function clearTakes(): void {
  const { blocks } = docStore.getState()
  changeDoc((doc) => ({ ...doc, blocks: [] }))
  const undo = {
    label: t.timeline.undo,
    run: () => changeDoc((doc) => ({ ...doc, blocks: [...blocks, ...doc.blocks] })),
  }
  notify(t.timeline.cleared(blocks.length), undo)
}

interface BlockViewProps {
  block: Block
  index: number
  count: number
  scale: number
}

function BlockView({ block, index, count, scale }: BlockViewProps) {
  const live = block.endMs === null
  const text = block.prompts.length > 0 ? promptLabel(block.prompts) : t.timeline.noPrompt
  const until = live ? t.timeline.live : minutes(block.endMs ?? 0)
  const width = live ? undefined : `${((block.endMs ?? 0) - block.startMs) * (scale / 1000)}px`
  return (
    <button
      type="button"
      data-testid="timeline-block"
      data-live={live}
      data-start={block.startMs}
      data-end={block.endMs ?? ''}
      aria-label={t.timeline.block(index + 1, count, minutes(block.startMs), until, text, block.cut === 'hard')}
      title={text}
      disabled={block.prompts.length === 0}
      onClick={() => changeDoc(setDraft(block.prompts))}
      style={{ left: `${block.startMs * (scale / 1000)}px`, width }}
      className={cx(
        '@container absolute inset-y-0 flex items-center gap-1.5 overflow-hidden rounded-1 border px-2 text-left text-12 text-fg1 focus-visible:z-10 focus-visible:outline-offset-[-2px]',
        COLORS[block.color - 1],
        live ? 'border-live' : 'border-edge',
      )}
    >
      {block.cut === 'hard' && <Scissors size={12} className="shrink-0" aria-hidden />}
      <span className="min-w-0 truncate">{text}</span>
      {live && (
        <>
          {/* The word is drawn by CSS: the block's name says it already, and must contain all text in it. */}
          <span
            className="ml-auto hidden shrink-0 rounded-full bg-live px-1.5 text-11 font-semibold text-live-ink after:content-[attr(data-word)] @min-[110px]:block"
            data-word={t.timeline.live}
            aria-hidden
          />
          <span
            className="ml-auto h-2 w-2 shrink-0 animate-pulse-live rounded-full bg-live @min-[110px]:hidden"
            aria-hidden
          />
        </>
      )}
    </button>
  )
}

/** Moves the playhead, grows the live block, writes the time and follows: one animation frame, no React. */
function usePainter(
  scale: number,
  track: React.RefObject<HTMLDivElement | null>,
  time: React.RefObject<HTMLElement | null>,
) {
  useEffect(() => {
    let frame = 0
    let lastText = 0
    let viewport = track.current?.parentElement?.clientWidth ?? 0
    let width = 0
    let scrolled = track.current?.parentElement?.scrollLeft ?? 0
    let follow = true
    let x = 0
    const paint = (now: number) => {
      frame = scope.transport.running ? requestAnimationFrame(paint) : 0
      const content = track.current
      const scroller = content?.parentElement
      if (!content || !scroller) return
      const ms = scope.transport.time()
      x = ms * (scale / 1000)
      const playhead = content.querySelector<HTMLElement>('[data-part="playhead"]')
      if (playhead) playhead.style.transform = `translateX(${x}px)`
      const live = content.querySelector<HTMLElement>('[data-live="true"]')
      if (live) live.style.width = `${Math.max(4, x - Number(live.dataset.start) * (scale / 1000))}px`
      // In steps, so that most frames change no layout.
      const needed = (endOf(docStore.getState().blocks, ms) * scale) / 1000 + viewport * 0.4
      const wanted = Math.max(viewport, Math.ceil(needed / WIDTH_STEP) * WIDTH_STEP)
      if (wanted !== width) {
        width = wanted
        content.style.width = `${wanted}px`
      }
      const edge = Math.floor(x - viewport * FOLLOW_AT)
      if (scope.transport.running && follow && edge > scrolled) {
        scrolled = edge + viewport * (1 - FOLLOW_AT) * 0.5
        scroller.scrollLeft = scrolled
      }
      if (time.current && (now - lastText > 250 || !scope.transport.running)) {
        lastText = now
        time.current.textContent = clock(ms)
      }
    }
    const kick = () => {
      if (frame === 0) frame = requestAnimationFrame(paint)
    }
    kick()
    const stopTransport = scope.transport.subscribe(() => {
      if (!scope.transport.running) follow = true
      kick()
    })
    const stopDoc = docStore.subscribe((next, before) => next.blocks !== before.blocks && kick())
    const resized = new ResizeObserver(([entry]) => {
      viewport = entry?.contentRect.width ?? viewport
      kick()
    })
    const scroller = track.current?.parentElement
    const onScroll = () => {
      const at = scroller?.scrollLeft ?? 0
      if (Math.abs(at - scrolled) < 2) return
      // The user looked elsewhere: follow again once the playhead is back in view.
      scrolled = at
      follow = x >= at && x <= at + viewport
    }
    scroller?.addEventListener('scroll', onScroll, { passive: true })
    if (scroller) resized.observe(scroller)
    return () => {
      cancelAnimationFrame(frame)
      stopTransport()
      stopDoc()
      resized.disconnect()
      scroller?.removeEventListener('scroll', onScroll)
    }
  }, [scale, track, time])
}

export function Timeline({ tall = false }: { tall?: boolean }) {
  const blocks = useDoc((doc) => doc.blocks)
  const stalled = useSession(({ state }) => state === 'stalled' || state === 'reconnecting')
  const [scale, setScale] = useState(DEFAULT_SCALE)
  const track = useRef<HTMLDivElement>(null)
  const time = useRef<HTMLSpanElement>(null)
  usePainter(scale, track, time)
  const zoom = (factor: number) => setScale((old) => Math.min(MAX_SCALE, Math.max(MIN_SCALE, old * factor)))
  return (
    <section
      aria-label={t.timeline.region}
      data-testid="timeline"
      className={cx('flex shrink-0 flex-col border-t border-line bg-bg1', tall && 'min-h-40')}
    >
      <div className="flex h-9 items-center gap-2 px-3">
        <h2 className="panel-title">{t.timeline.title}</h2>
        <span ref={time} data-testid="timeline-time" className="num text-13 text-fg1" />
        {stalled && <span className="text-11 font-medium text-warn">{t.timeline.stalled}</span>}
        <div className="ml-auto flex items-center">
          <IconButton label={t.timeline.zoomOut} disabled={scale <= MIN_SCALE} onClick={() => zoom(0.5)}>
            <ZoomOut size={15} aria-hidden />
          </IconButton>
          <IconButton label={t.timeline.zoomIn} disabled={scale >= MAX_SCALE} onClick={() => zoom(2)}>
            <ZoomIn size={15} aria-hidden />
          </IconButton>
          <Button variant="ghost" aria-label={t.timeline.clear} disabled={blocks.length === 0} onClick={clearTakes}>
            <Trash2 size={14} aria-hidden />
          </Button>
        </div>
      </div>
      <div
        tabIndex={0}
        role="group"
        aria-label={t.timeline.title}
        className="relative overflow-x-auto overflow-y-hidden focus-visible:outline-offset-[-2px]"
      >
        <div ref={track} className="relative h-[78px] min-w-full">
          <Ruler scale={scale} />
          <div className="absolute inset-x-0 top-6 h-10 bg-bg0">
            {blocks.map((block, index) => (
              <BlockView key={block.id} block={block} index={index} count={blocks.length} scale={scale} />
            ))}
          </div>
          <div
            data-part="playhead"
            data-testid="playhead"
            aria-hidden
            className="pointer-events-none absolute top-0 bottom-2 left-0 z-20 w-px bg-accent will-change-transform"
          >
            <div className="absolute -top-px -left-[5px] h-2.5 w-[11px] rounded-b-full bg-accent" />
          </div>
        </div>
        {blocks.length === 0 && (
          <p className="pointer-events-none absolute top-6 left-4 flex h-10 items-center text-12 text-fg3">
            {t.timeline.empty}
          </p>
        )}
      </div>
    </section>
  )
}
