import { useCallback } from 'react'
import { useStore } from 'zustand'
import { scope } from '../../app'
import type { Meters } from '../../engine/meters'
import { t } from '../../messages'
import { fixed, minutes, rate } from '../../ui/format'
import { Painted } from '../../ui/Painted'
import { HealthWord } from './HealthWord'

const h = t.hud
const sum = (drops: Record<string, number | null | undefined> | null | undefined) =>
  drops ? Object.values(drops).reduce<number>((total, value) => total + (value ?? 0), 0) : null
const size = (width: number | null | undefined, height: number | null | undefined) =>
  width && height ? `${width}×${height}` : '–'
const line = (...parts: (string | null | undefined)[]) => parts.filter(Boolean).join('  ')

const generate = ({ server }: Meters) =>
  line(
    fixed(server?.fps_generated, 1, ' fps'),
    server?.effort?.name,
    `${h.chunk} ${fixed(server?.chunk_ms, 0, ' ms')}`,
    `${h.queue} ${fixed(server?.queue_frames, 0)}`,
    `${h.dropped} ${fixed(sum(server?.drops), 0)}`,
    server?.encode_ms == null ? '' : `${t.health.encode} ${fixed(server.encode_ms, 1, ' ms')}`,
  )
const network = ({ net, server }: Meters) =>
  line(
    rate(net.bitrateBps),
    `${h.loss} ${fixed(net.lossPercent, 1, ' %')}`,
    `${h.jitter} ${fixed(net.jitterMs, 0, ' ms')}`,
    `${h.rtt} ${fixed(net.rttMs ?? server?.rtt_ms, 0, ' ms')}`,
    net.path,
  )
const output = ({ fps, net }: Meters) =>
  line(
    fixed(fps, 1, ' fps'),
    size(net.width, net.height),
    net.codec,
    `${t.health.delay} ${fixed(net.delayMs, 0, ' ms')}`,
    `${h.dropped} ${fixed(net.dropped, 0)}`,
    `${h.freezes} ${fixed(net.freezes, 0)}`,
  )
const pixel = ({ latency, latencyP95 }: Meters) =>
  latency
    ? line(
        fixed(latency.ms / 1000, 2, ' s'),
        latency.estimated && t.header.latencyEstimated ? t.header.latencyEstimated : '',
        `${h.p95} ${latencyP95 === null ? '–' : fixed(latencyP95 / 1000, 2, ' s')}`,
      )
    : '–'
const input = ({ net }: Meters) =>
  line(fixed(net.sentFps, 1, ' fps'), size(net.sentWidth, net.sentHeight), rate(net.sentBps))
const gpu = ({ server }: Meters) => {
  const [used, total] = [server?.vram_used_mb, server?.vram_total_mb]
  if (!used || !total) return `${t.health.vram} –`
  return `${t.health.vram} ${fixed(used / 1024, 1)} / ${fixed(total / 1024, 1)} GB  ${fixed((used / total) * 100, 0, ' %')}`
}
const recording = () => {
  const { phase, since } = scope.recorder.store.getState()
  return phase === 'on' ? minutes(Date.now() - since) : t.health.off
}

const ROWS: readonly { name: string; paint: (meters: Meters) => string }[] = [
  { name: h.generate, paint: generate },
  { name: h.network, paint: network },
  { name: h.output, paint: output },
  { name: h.promptToPixel, paint: pixel },
  { name: h.input, paint: input },
  { name: h.gpu, paint: gpu },
  { name: t.health.record, paint: recording },
]

/** The last minute, larger than in the header. */
function Minute() {
  const attach = useCallback((canvas: HTMLCanvasElement | null) => {
    const context = canvas?.getContext('2d')
    if (!canvas || !context) return
    const colour = getComputedStyle(document.documentElement).getPropertyValue('--color-accent').trim()
    return scope.meters.subscribe(({ fpsHistory }) => {
      const { width, height } = canvas
      const top = Math.max(10, ...fpsHistory)
      context.clearRect(0, 0, width, height)
      context.fillStyle = colour
      const bar = width / 60
      for (const [i, fps] of fpsHistory.entries()) {
        const tall = Math.max(1, (fps / top) * height)
        context.fillRect(width - (fpsHistory.length - i) * bar, height - tall, bar - 1, tall)
      }
    })
  }, [])
  return (
    <canvas
      ref={attach}
      width={480}
      height={48}
      role="img"
      aria-label={t.header.sparkline}
      className="mt-1.5 h-6 w-60 max-md:hidden"
    />
  )
}

/** One line per stage between the model and the eye, so that a problem has a place. */
export function Hud() {
  const { cause } = useStore(scope.health.store)
  return (
    <section
      aria-label={h.title}
      data-testid="hud"
      className="pointer-events-none absolute bottom-3 left-3 max-w-[calc(100%-24px)] rounded-1 bg-bg0/85 px-3 py-2 text-11 max-md:inset-x-1 max-md:bottom-1 max-md:max-w-none max-md:px-2 max-md:py-1"
    >
      <p className="flex items-center gap-2 pb-1 max-md:hidden">
        <HealthWord />
        <span className="truncate text-fg2">{cause ? t.health.causes[cause].title : t.health.fine.title}</span>
      </p>
      <dl className="m-0 grid grid-cols-[auto_1fr] gap-x-3 gap-y-0.5 max-md:gap-x-2">
        {ROWS.map((row) => (
          <div key={row.name} className="contents">
            <dt className="font-semibold text-fg3">{row.name}</dt>
            <dd className="m-0 min-w-0 truncate whitespace-pre">
              <Painted paint={row.paint} className="num text-fg1" />
            </dd>
          </div>
        ))}
      </dl>
      <Minute />
    </section>
  )
}
