import { useCallback } from 'react'
import { scope } from '../../app'
import type { Meters } from '../../engine/meters'
import { useSession } from '../../hooks'
import { t } from '../../messages'
import { cx } from '../../ui/cx'
import { fixed } from '../../ui/format'
import { Painted } from '../../ui/Painted'

const fpsText = (meters: Meters) => meters.fps.toFixed(1)
const latencyText = ({ latency }: Meters) => (latency ? `${(latency.ms / 1000).toFixed(2)} s` : '–')
const estimateText = ({ latency }: Meters) => (latency?.estimated ? t.header.latencyEstimated : '')
const reducedText = ({ server }: Meters) => (server?.effort && server.effort.level > 0 ? server.effort.name : '')
const vramText = ({ server }: Meters) =>
  server?.vram_used_mb && server.vram_total_mb
    ? `${fixed(server.vram_used_mb / 1024, 1)}/${fixed(server.vram_total_mb / 1024, 0)} GB`
    : ''

/** The last minute of frame rates. Drawn on a canvas, without React. */
function Sparkline() {
  const attach = useCallback((canvas: HTMLCanvasElement | null) => {
    if (!canvas) return
    const context = canvas.getContext('2d')
    if (!context) return
    const styles = getComputedStyle(document.documentElement)
    const stroke = styles.getPropertyValue('--color-accent').trim() || '#4cc2ff'
    return scope.meters.subscribe(({ fpsHistory }) => {
      const { width, height } = canvas
      context.clearRect(0, 0, width, height)
      if (fpsHistory.length < 2) return
      const top = Math.max(10, ...fpsHistory) * 1.1
      const x = (i: number) => width - (fpsHistory.length - 1 - i) * (width / 59)
      const y = (fps: number) => height - 1.5 - (fps / top) * (height - 3)
      context.beginPath()
      fpsHistory.forEach((fps, i) => {
        if (i === 0) context.moveTo(x(i), y(fps))
        else context.lineTo(x(i), y(fps))
      })
      context.strokeStyle = stroke
      context.lineWidth = 2.5
      context.lineJoin = 'round'
      context.stroke()
      context.lineTo(width, height)
      context.lineTo(x(0), height)
      context.fillStyle = `${stroke}26`
      context.fill()
    })
  }, [])
  return (
    <canvas
      ref={attach}
      width={144}
      height={44}
      role="img"
      aria-label={t.header.sparkline}
      className="h-[22px] w-[72px] max-lg:hidden"
    />
  )
}

const TONE: Record<string, string> = {
  live: 'bg-ok',
  paused: 'bg-accent',
  stalled: 'bg-warn',
  reconnecting: 'bg-warn animate-pulse-live',
  failed: 'bg-live',
  idle: 'bg-edge',
}

export function StateChip({ compact = false }: { compact?: boolean }) {
  const { state, attempt } = useSession(({ state, attempt }) => ({ state, attempt }))
  return (
    <span
      data-testid="stream-state"
      data-state={state}
      className={cx(
        'flex h-7 items-center gap-2 rounded-full border border-line bg-bg0 px-2.5 text-12 font-medium whitespace-nowrap',
        compact && 'min-w-0 max-[400px]:gap-1.5 max-[400px]:px-2',
      )}
    >
      <span
        className={cx('h-2 w-2 shrink-0 rounded-full', TONE[state] ?? 'bg-accent animate-pulse-live')}
        aria-hidden
      />
      <span className={cx(compact && 'max-w-20 min-w-0 truncate')}>{t.state[state]}</span>
      {attempt > 0 && <span className="num text-fg3">{attempt}</span>}
    </span>
  )
}

export function Readouts({ compact = false }: { compact?: boolean }) {
  return (
    <div className="flex items-center gap-3">
      <div className="flex items-baseline gap-1 whitespace-nowrap">
        <Painted paint={fpsText} testId="fps-value" className="num min-w-8 text-right text-14 font-semibold" />
        <span className="text-11 text-fg3">{t.header.fps}</span>
      </div>
      <span title={t.header.reduced} className="contents">
        <Painted
          paint={reducedText}
          testId="reduced-value"
          className="rounded-full border border-warn/70 px-2 py-px text-11 whitespace-nowrap text-warn empty:hidden"
        />
      </span>
      {!compact && <Sparkline />}
      <div
        className={cx('flex items-baseline gap-1 whitespace-nowrap', compact && 'max-[420px]:hidden')}
        title={t.header.latency}
      >
        <span className="sr-only">{t.header.latency}</span>
        <Painted paint={latencyText} testId="latency-value" className="num min-w-12 text-right text-14 font-semibold" />
        <Painted paint={estimateText} className="text-11 text-warn" />
      </div>
      {!compact && <Painted paint={vramText} className="num text-12 text-fg2 max-lg:hidden" />}
    </div>
  )
}
