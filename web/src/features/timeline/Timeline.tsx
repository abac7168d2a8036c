import { useEffect, useRef } from 'react'
import { useDoc } from '../../hooks'
import { t } from '../../messages'
import { cx } from '../../ui/cx'
import { pinch, pressRuler, wheel } from './gestures'
import { InlineEditor } from './InlineEditor'
import { Lane } from './Lane'
import { Overview } from './Overview'
import { startPainter } from './painter'
import { Ruler } from './Ruler'
import { Toolbar, TouchBar } from './Toolbar'
import { PAD_PX, viewport } from './view'

/** The editor of the takes. `tall` is the one for fingers. */
export function Timeline({ tall = false }: { tall?: boolean }) {
  const empty = useDoc((doc) => doc.blocks.length === 0)
  const scroller = useRef<HTMLDivElement>(null)
  const content = useRef<HTMLDivElement>(null)
  const playhead = useRef<HTMLDivElement>(null)
  const time = useRef<HTMLSpanElement>(null)
  const bars = useRef<HTMLSpanElement>(null)
  const overview = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const parts = [scroller, content, playhead, time, bars, overview].map((ref) => ref.current)
    const [frame, inner, head, text, place, line] = parts
    if (!frame || !inner || !head || !text || !place || !line) return
    const stops = [
      viewport.attach(frame, inner),
      startPainter({ content: inner, playhead: head, time: text, bars: place, overview: line }),
      pinch(frame),
    ]
    frame.addEventListener('wheel', wheel, { passive: false })
    return () => {
      frame.removeEventListener('wheel', wheel)
      for (const stop of stops) stop()
    }
  }, [])
  return (
    <section
      aria-label={t.timeline.region}
      data-testid="timeline"
      className="flex shrink-0 flex-col border-t border-line bg-bg1"
    >
      <Toolbar time={time} bars={bars} tall={tall} />
      <div
        ref={scroller}
        data-part="scroller"
        data-testid="timeline-scroller"
        className="relative overflow-x-auto overflow-y-hidden overscroll-x-contain [scrollbar-width:none]"
      >
        <div ref={content} className="relative" style={{ marginLeft: PAD_PX }}>
          <Ruler tall={tall} />
          <Lane tall={tall} />
          <div
            ref={playhead}
            data-testid="playhead"
            role="slider"
            tabIndex={0}
            aria-label={t.timeline.playhead}
            aria-valuemin={0}
            aria-valuenow={0}
            className="group/head pointer-events-none absolute top-0 bottom-0 left-0 z-20 w-0 outline-none will-change-transform"
          >
            <div
              onPointerDown={pressRuler}
              className={cx(
                'pointer-events-auto absolute top-0 -left-3 w-6 cursor-ew-resize touch-none',
                tall ? 'h-11' : 'h-6',
              )}
            >
              <div className="absolute bottom-0 left-[7px] h-3 w-[11px] bg-accent [clip-path:polygon(0_0,100%_0,100%_55%,50%_100%,0_55%)] group-focus-visible/head:scale-150" />
            </div>
            <div className="absolute inset-y-0 -left-px w-0.5 bg-accent group-focus-visible/head:bg-focus group-focus-visible/head:outline-2 group-focus-visible/head:outline-focus" />
          </div>
          {!tall && <InlineEditor tall={false} />}
        </div>
        {empty && (
          <p
            className={cx(
              'pointer-events-none absolute left-4 flex items-center text-12 text-fg3',
              tall ? 'top-11 right-4 h-16' : 'top-6 h-12',
            )}
          >
            {t.timeline.empty}
          </p>
        )}
      </div>
      <Overview line={overview} />
      {tall && <TouchBar />}
      {tall && <InlineEditor tall />}
    </section>
  )
}
