import { useMemo } from 'react'
import { useStore } from 'zustand'
import { editDoc } from '../../doc/history'
import { changeMarker } from '../../doc/markers'
import type { Marker } from '../../doc/model'
import { barAndBeat, beatMs, type TempoSettings } from '../../doc/tempo'
import { useDoc } from '../../hooks'
import { t } from '../../messages'
import { cx } from '../../ui/cx'
import { clock, minutes } from '../../ui/format'
import { seek, unmark } from './actions'
import { pressLoopEnd, pressMarker, pressRuler } from './gestures'
import { viewStore } from './view'

const INTERVALS_S = [0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600]
const MIN_LABEL_PX = 72
const MARKER_STEP_MS = 100

/** Seconds between labels so that they do not crowd at `scale` pixels per second. */
export function labelInterval(scale: number): number {
  return INTERVALS_S.find((seconds) => seconds * scale >= MIN_LABEL_PX) ?? 1800
}

const label = (ms: number, interval: number) =>
  interval < 1 ? `${minutes(ms)}.${Math.round((ms % 1000) / 100)}` : minutes(ms)

const BAR_STEPS = [1, 2, 4, 8, 16, 32, 64, 128, 256]

/** The lines of the ruler: where the first is, how far apart those with labels are, and into what parts they are divided. */
interface Lines {
  fromMs: number
  everyMs: number
  parts: number
  label(n: number): string
}

function secondLines(scale: number): Lines {
  const interval = labelInterval(scale)
  return { fromMs: 0, everyMs: interval * 1000, parts: 5, label: (n) => label(n * interval * 1000, interval) }
}

/** Beats where there is room for them, else bars. */
function beatLines({ bpm, beatsPerBar, originMs }: TempoSettings, scale: number): Lines {
  const beat = beatMs(bpm)
  const wide = (beats: number) => (beats * beat * scale) / 1000 >= MIN_LABEL_PX
  if (wide(1)) {
    const name = (n: number) => {
      const place = barAndBeat(n, beatsPerBar)
      return `${place.bar}:${place.beat}`
    }
    return { fromMs: originMs, everyMs: beat, parts: 4, label: name }
  }
  const bars = BAR_STEPS.find((count) => wide(count * beatsPerBar)) ?? 512
  const name = (n: number) => String(n * bars + 1)
  return { fromMs: originMs, everyMs: bars * beatsPerBar * beat, parts: bars === 1 ? beatsPerBar : 4, label: name }
}

function useLines(): Lines {
  const scale = useStore(viewStore, (state) => state.scale)
  const tempo = useDoc((doc) => doc.tempo)
  return useMemo(() => (tempo.on ? beatLines(tempo, scale) : secondLines(scale)), [tempo, scale])
}

function Labels({ lines }: { lines: Lines }) {
  const { scale, fromMs, toMs } = useStore(viewStore)
  const { everyMs } = lines
  const first = Math.max(0, Math.floor((fromMs - lines.fromMs) / everyMs))
  const last = Math.ceil((toMs - lines.fromMs) / everyMs)
  const numbers = useMemo(() => Array.from({ length: last - first }, (_, i) => first + i), [first, last])
  return numbers.map((n) => (
    <span
      key={n}
      aria-hidden
      data-testid="ruler-label"
      className="num pointer-events-none absolute bottom-0 text-11 leading-5 text-fg3"
      style={{ left: `${((lines.fromMs + n * everyMs) / 1000) * scale + 5}px` }}
    >
      {lines.label(n)}
    </span>
  ))
}

function MarkerFlag({ marker, px }: { marker: Marker; px: number }) {
  const rename = () => viewStore.setState({ editing: { id: marker.id, what: 'marker' } })
  const shift = (ms: number) =>
    editDoc(
      t.timeline.steps.marker,
      (doc) => ({ ...doc, markers: changeMarker(doc.markers, marker.id, { atMs: marker.atMs + ms }) }),
      { merge: `marker ${marker.id}` },
    )
  const keys = new Map([
    ['Enter', () => seek(marker.atMs)],
    ['F2', rename],
    ['Delete', () => unmark(marker.id)],
    ['Backspace', () => unmark(marker.id)],
    ['ArrowLeft', () => shift(-MARKER_STEP_MS)],
    ['ArrowRight', () => shift(MARKER_STEP_MS)],
  ])
  return (
    <button
      type="button"
      data-testid="timeline-marker"
      aria-label={t.timeline.markerName(marker.label, clock(marker.atMs))}
      onPointerDown={(event) => pressMarker(event, marker.id)}
      onDoubleClick={rename}
      onKeyDown={(event) => {
        const run = keys.get(event.key)
        if (!run || event.ctrlKey || event.metaKey || event.altKey) return
        event.preventDefault()
        run()
      }}
      style={{ left: `${marker.atMs * px}px` }}
      // Above the playhead, which stands on every marker that has just been made or gone to.
      className="absolute bottom-0 z-30 flex h-6 max-w-40 min-w-6 touch-none items-end border-l border-warn"
    >
      <span className="max-w-full truncate rounded-r-[3px] bg-warn px-1 text-11 leading-4 font-semibold text-accent-ink">
        {marker.label}
      </span>
    </button>
  )
}

function LoopBar({ px }: { px: number }) {
  const own = useDoc((doc) => doc.loop)
  const stretch = useStore(viewStore, ({ stretch }) => stretch)
  const loop = stretch?.loop
    ? { inMs: Math.min(stretch.aMs, stretch.bMs), outMs: Math.max(stretch.aMs, stretch.bMs), on: true }
    : own
  if (!loop) return null
  const end = (side: 'in' | 'out', name: string) => (
    <div
      aria-hidden
      title={name}
      onPointerDown={(event) => pressLoopEnd(event, side)}
      className={cx(
        'absolute -inset-y-1 w-3 cursor-ew-resize touch-none before:absolute before:inset-y-1 before:w-0.5 before:bg-accent pointer-coarse:w-6',
        side === 'in' ? '-left-1.5 before:left-1.5' : '-right-1.5 before:right-1.5',
      )}
    />
  )
  return (
    <div
      role="presentation"
      data-testid="timeline-loop"
      data-on={loop.on}
      data-in={loop.inMs}
      data-out={loop.outMs}
      style={{ left: `${loop.inMs * px}px`, width: `${(loop.outMs - loop.inMs) * px}px` }}
      className={cx('absolute top-0 h-1.5 rounded-[2px]', loop.on ? 'bg-accent/70' : 'bg-edge/50')}
    >
      {own && end('in', t.timeline.loopStart)}
      {own && end('out', t.timeline.loopEnd)}
    </div>
  )
}

/** Times, markers and the loop. A press seeks. */
export function Ruler({ tall }: { tall: boolean }) {
  const scale = useStore(viewStore, ({ scale }) => scale)
  const dragged = useStore(viewStore, ({ markers }) => markers)
  const own = useDoc((doc) => doc.markers)
  const lines = useLines()
  const step = (lines.everyMs / 1000) * scale
  const from = (lines.fromMs / 1000) * scale
  const ticks = (size: number, color: string) =>
    `linear-gradient(to right, ${color} 1px, transparent 1px) ${from}px 0 / ${size}px`
  return (
    <div
      role="presentation"
      data-testid="timeline-ruler"
      title={t.timeline.playheadHint}
      onPointerDown={pressRuler}
      className={cx('relative cursor-pointer touch-none border-y border-line', tall ? 'h-11' : 'h-6')}
      style={{
        background: `${ticks(step, 'var(--color-edge)')} 100%, ${ticks(step / lines.parts, 'var(--color-line)')} 6px repeat-x`,
      }}
    >
      <Labels lines={lines} />
      <LoopBar px={scale / 1000} />
      {(dragged ?? own).map((marker) => (
        <MarkerFlag key={marker.id} marker={marker} px={scale / 1000} />
      ))}
    </div>
  )
}
