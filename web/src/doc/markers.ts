import { type Loop, type Marker, newId } from './model'
import { MIN_BLOCK_MS } from './timeline'

/** Markers and the loop. Pure. */

const sorted = (markers: readonly Marker[]) => [...markers].sort((a, b) => a.atMs - b.atMs)
const time = (ms: number) => Math.max(0, Math.round(ms))

export function addMarker(markers: readonly Marker[], atMs: number, label: string): Marker[] {
  return sorted([...markers, { id: newId(), atMs: time(atMs), label }])
}

export function changeMarker(markers: readonly Marker[], id: string, change: Partial<Omit<Marker, 'id'>>): Marker[] {
  return sorted(
    markers.map((marker) => {
      const next = { ...marker, ...change }
      return marker.id === id ? { ...next, atMs: time(next.atMs) } : marker
    }),
  )
}

export function removeMarker(markers: readonly Marker[], id: string): Marker[] {
  return markers.filter((marker) => marker.id !== id)
}

/** The next number that no marker carries yet. */
export function freeNumber(markers: readonly Marker[]): number {
  const taken = new Set(markers.map(({ label }) => label))
  let n = 1
  while (taken.has(String(n))) n += 1
  return n
}

/** A loop over a stretch of time, in either order; too short a stretch gets the length of the shortest block. */
export function loopOver(aMs: number, bMs: number): Loop {
  const inMs = time(Math.min(aMs, bMs))
  return { inMs, outMs: Math.max(time(Math.max(aMs, bMs)), inMs + MIN_BLOCK_MS), on: true }
}

/** Moves one end; the other stays and is never passed. */
export function moveLoopEnd(loop: Loop, end: 'in' | 'out', toMs: number): Loop {
  return end === 'in'
    ? { ...loop, inMs: Math.min(time(toMs), loop.outMs - MIN_BLOCK_MS) }
    : { ...loop, outMs: Math.max(time(toMs), loop.inMs + MIN_BLOCK_MS) }
}
