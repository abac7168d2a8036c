import type { Meters } from '../../engine/meters'
import { t } from '../../messages'
import { fixed, rate } from '../../ui/format'
import type { FlowKind } from './flow'

/** What is measured, at the node where it is measured. The server counts a whole chain as one. */

const m = t.graph

type Counts = Record<string, number | null | undefined> | null | undefined

const dropped = (drops: Counts, ...keys: string[]) => {
  const known = keys.map((key) => drops?.[key]).filter((count): count is number => typeof count === 'number')
  return `${t.hud.dropped} ${known.length === 0 ? '–' : known.reduce((a, b) => a + b)}`
}
const size = (width: number | null | undefined, height: number | null | undefined) =>
  width && height ? `${width}×${height}` : '–'
const fps = (value: number | null | undefined) => fixed(value, 1, ' fps')

export const NUMBERS: Partial<Record<FlowKind, readonly ((meters: Meters) => string)[]>> = {
  source: [
    ({ net }) => `${fps(net.sentFps)}  ${size(net.sentWidth, net.sentHeight)}`,
    ({ server }) => `${m.arrives} ${fps(server?.fps_in)}`,
    ({ server }) => dropped(server?.drops, 'input'),
  ],
  pipeline: [
    ({ server }) => [fps(server?.fps_generated), server?.effort?.name].filter(Boolean).join('  '),
    ({ server }) => `${t.hud.chunk} ${fixed(server?.chunk_ms, 0, ' ms')}`,
    ({ server }) => `${t.hud.queue} ${fixed(server?.queue_frames, 0)}  ${dropped(server?.drops, 'compute')}`,
  ],
  sink: [
    ({ server }) => `${fps(server?.fps_out)}  ${size(server?.width, server?.height)}`,
    ({ server, net }) => `${server?.codec ?? net.codec ?? '–'}  ${rate(server?.bitrate_bps)}`,
    ({ server }) => dropped(server?.drops, 'pacing', 'encode', 'network', 'stale'),
  ],
  stage: [
    ({ fps: shown }) => fps(shown),
    ({ net }) => `${t.health.delay} ${fixed(net.delayMs, 0, ' ms')}`,
    ({ net }) => `${t.hud.dropped} ${fixed(net.dropped, 0)}`,
  ],
}
