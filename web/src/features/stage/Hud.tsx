import type { Meters } from '../../engine/meters'
import { t } from '../../messages'
import { fixed, rate } from '../../ui/format'
import { Painted } from '../../ui/Painted'

const sum = (drops: Record<string, number | null | undefined> | null | undefined) =>
  drops ? Object.values(drops).reduce<number>((total, value) => total + (value ?? 0), 0) : null

const generate = ({ server }: Meters) =>
  `${fixed(server?.fps_generated, 1)} fps  ${server?.effort ? `${server.effort.name}  ` : ''}${t.hud.chunk} ${fixed(server?.chunk_ms, 0, ' ms')}  ${t.hud.queue} ${fixed(server?.queue_frames, 0)}  ${t.hud.dropped} ${fixed(sum(server?.drops), 0)}`
const network = ({ net, server }: Meters) =>
  `${rate(net.bitrateBps)}  ${t.hud.loss} ${fixed(net.lossPercent, 1, ' %')}  ${t.hud.jitter} ${fixed(net.jitterMs, 0, ' ms')}  ${t.hud.rtt} ${fixed(net.rttMs ?? server?.rtt_ms, 0, ' ms')}${net.path ? `  ${net.path}` : ''}`
const output = ({ fps, net }: Meters) =>
  `${fixed(fps, 1)} fps  ${net.width ? `${net.width}×${net.height}` : '–'} ${net.codec ?? ''}  ${t.hud.dropped} ${fixed(net.dropped, 0)}  ${t.hud.freezes} ${fixed(net.freezes, 0)}`
const pixel = ({ latency, latencyP95 }: Meters) =>
  latency
    ? `${fixed(latency.ms / 1000, 2, ' s')}${latency.estimated ? ` ${t.header.latencyEstimated}` : ''}  ${t.hud.p95} ${fixed((latencyP95 ?? 0) / 1000, 2, ' s')}`
    : '–'
const input = ({ net }: Meters) => {
  const size = net.sentWidth ? `${net.sentWidth}×${net.sentHeight}` : '–'
  return `${fixed(net.sentFps, 1)} fps  ${size}  ${rate(net.sentBps)}`
}
const gpu = ({ server }: Meters) =>
  server?.vram_used_mb && server.vram_total_mb
    ? `VRAM ${fixed(server.vram_used_mb / 1024, 1)} / ${fixed(server.vram_total_mb / 1024, 1)} GB`
    : ''

const ROWS: readonly { name: string; paint: (meters: Meters) => string }[] = [
  { name: t.hud.generate, paint: generate },
  { name: t.hud.network, paint: network },
  { name: t.hud.output, paint: output },
  { name: t.hud.promptToPixel, paint: pixel },
  { name: t.hud.input, paint: input },
  { name: t.hud.gpu, paint: gpu },
]

/** One line per stage between the model and the eye, so that a problem has a place. */
export function Hud() {
  return (
    <dl
      aria-label={t.hud.title}
      data-testid="hud"
      className="pointer-events-none absolute bottom-3 left-3 m-0 grid max-w-[calc(100%-24px)] grid-cols-[auto_1fr] gap-x-3 gap-y-0.5 rounded-1 bg-bg0/85 px-3 py-2 text-11 max-md:hidden"
    >
      {ROWS.map((row) => (
        <div key={row.name} className="contents has-[dd>span:empty]:hidden">
          <dt className="font-semibold text-fg3">{row.name}</dt>
          <dd className="m-0 truncate whitespace-pre">
            <Painted paint={row.paint} className="num text-fg1" />
          </dd>
        </div>
      ))}
    </dl>
  )
}
