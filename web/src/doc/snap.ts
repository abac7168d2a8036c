import type { Block, Marker } from './model'
import { blockEnd } from './timeline'

/** Where edges and the playhead are drawn to. Pure. */

export interface Magnets {
  /** Single times: edges of blocks, markers, the playhead, the loop. */
  times: readonly number[]
  /** Every multiple of it attracts as well. */
  gridMs: number
  /** Where the first of them is. */
  fromMs?: number
  toleranceMs: number
}

export interface Snapped {
  ms: number
  /** The time that attracted, null where none was near. */
  to: number | null
}

interface MagnetSources {
  blocks: readonly Block[]
  /** Blocks that are moving do not attract themselves. */
  moving: ReadonlySet<string>
  markers: readonly Marker[]
  others: readonly number[]
  nowMs: number
}

export function magnetTimes({ blocks, moving, markers, others, nowMs }: MagnetSources): number[] {
  const edges = blocks.flatMap((block) => (moving.has(block.id) ? [] : [block.startMs, blockEnd(block, nowMs)]))
  return [...edges, ...markers.map(({ atMs }) => atMs), ...others]
}

/** A time, drawn to the nearest magnet within the tolerance. Edges win over the grid. */
export function snap(ms: number, { times, gridMs, fromMs = 0, toleranceMs }: Magnets): Snapped {
  let to: number | null = null
  for (const time of times) {
    if (Math.abs(time - ms) <= (to === null ? toleranceMs : Math.abs(to - ms))) to = time
  }
  const line = Math.max(0, Math.round(fromMs + Math.round((ms - fromMs) / gridMs) * gridMs))
  if (to === null && Math.abs(line - ms) <= Math.min(toleranceMs, gridMs / 3)) to = line
  return { ms: to ?? Math.round(ms), to }
}

/** A move of several edges at once, drawn to the magnet that any of them is nearest to. */
export function snapDelta(edges: readonly number[], deltaMs: number, magnets: Magnets): Snapped {
  let best: Snapped = { ms: Math.round(deltaMs), to: null }
  let distance = Number.POSITIVE_INFINITY
  for (const edge of edges) {
    const { ms, to } = snap(edge + deltaMs, magnets)
    const away = Math.abs(ms - (edge + deltaMs))
    if (to !== null && away < distance) {
      distance = away
      best = { ms: ms - edge, to }
    }
  }
  return best
}
