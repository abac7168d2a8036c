import type { PointerEvent as ReactPointerEvent } from 'react'
import { scope } from '../../app'
import * as edits from '../../doc/edits'
import { editDoc } from '../../doc/history'
import { changeMarker, loopOver, moveLoopEnd } from '../../doc/markers'
import type { Block } from '../../doc/model'
import { type Magnets, magnetTimes, snap, snapDelta } from '../../doc/snap'
import { docStore } from '../../doc/store'
import { beatMs } from '../../doc/tempo'
import { blockEnd, endOf } from '../../doc/timeline'
import { t } from '../../messages'
import { cancelGesture, endGesture } from './actions'
import { select, selected, view, viewport, viewStore } from './view'

/** What a mouse, a pen or a finger does on the timeline. */

type Press = ReactPointerEvent<HTMLElement>
type Point = Pick<PointerEvent, 'clientX' | 'altKey' | 'ctrlKey' | 'metaKey'>

const MIN_DRAG_PX = 3
const EDGE_PX = { mouse: 8, touch: 16 }
const SNAP_PX = 8
/** Near the sides of the view it scrolls along. */
const SCROLL_ZONE_PX = 28
const SCROLL_STEP_PX = 10

const steps = t.timeline.steps
const blocks = () => docStore.getState().blocks
const time = () => scope.transport.time()

interface Drag {
  move(point: Point): void
  end(): void
  cancel(): void
  /** A press without a drag. */
  click?(): void
  /** Drags at once, without the first few pixels. */
  eager?: boolean
}

/** Follows one pointer until it is let go, or Escape puts everything back. */
function follow(press: Press, { move, end, cancel, click, eager = false }: Drag): void {
  const element = press.currentTarget
  const { pointerId, clientX, clientY } = press
  const frame = element.closest('[data-part="scroller"]')?.getBoundingClientRect()
  let dragging = eager
  let last: Point = press
  let ticking = 0
  const stop = () => {
    element.removeEventListener('pointermove', onMove)
    element.removeEventListener('pointerup', onUp)
    element.removeEventListener('pointercancel', onCancel)
    window.removeEventListener('keydown', onKey, true)
    cancelAnimationFrame(ticking)
    if (element.hasPointerCapture(pointerId)) element.releasePointerCapture(pointerId)
  }
  const tick = () => {
    ticking = requestAnimationFrame(tick)
    if (!frame || !dragging) return
    const side = last.clientX < frame.left + SCROLL_ZONE_PX ? -1 : last.clientX > frame.right - SCROLL_ZONE_PX ? 1 : 0
    if (side === 0) return
    viewport.panBy(side * SCROLL_STEP_PX)
    move(last)
  }
  const onMove = (event: PointerEvent) => {
    if (event.pointerId !== pointerId) return
    const far = Math.hypot(event.clientX - clientX, event.clientY - clientY) >= MIN_DRAG_PX
    if (!dragging && !far) return
    dragging = true
    last = event
    move(event)
  }
  const onUp = (event: PointerEvent) => {
    if (event.pointerId !== pointerId) return
    stop()
    if (dragging) end()
    else click?.()
  }
  const onCancel = () => {
    stop()
    if (dragging) cancel()
  }
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== 'Escape') return
    event.preventDefault()
    event.stopPropagation()
    stop()
    cancel()
  }
  // A finger on a block that is not selected scrolls the view; the browser takes it over.
  element.setPointerCapture(pointerId)
  element.addEventListener('pointermove', onMove)
  element.addEventListener('pointerup', onUp)
  element.addEventListener('pointercancel', onCancel)
  window.addEventListener('keydown', onKey, true)
  ticking = requestAnimationFrame(tick)
  if (eager) move(press)
}

function magnets(moving: ReadonlySet<string>, { playhead = true } = {}): Magnets {
  const { markers, loop, tempo } = docStore.getState()
  const others = [...(playhead ? [time()] : []), ...(loop ? [loop.inMs, loop.outMs] : [])]
  const times = magnetTimes({ blocks: blocks(), moving, markers, others, nowMs: time() })
  const toleranceMs = SNAP_PX / viewport.pxPerMs
  return tempo.on
    ? { times, gridMs: beatMs(tempo.bpm), fromMs: tempo.originMs, toleranceMs }
    : { times, gridMs: 1000, toleranceMs }
}

const free = (point: Point) => !view().snapping || point.ctrlKey || point.metaKey

/** How far from a time its handle was taken hold of: it must not jump to the pointer. */
const gripOn = (press: Press, ms: number) => viewport.msAt(press.clientX) - ms

/** A time under the pointer, drawn to what is near unless snapping is off. */
function drawn(point: Point, near: Magnets, gripMs = 0): number {
  const ms = Math.max(0, viewport.msAt(point.clientX) - gripMs)
  if (free(point)) {
    viewStore.setState({ snapLine: null })
    return ms
  }
  const found = snap(ms, near)
  viewStore.setState({ snapLine: found.to })
  return found.ms
}

export interface Hit {
  block: Block
  edge: edits.Edge | null
  /** The block on the left of an edge that two share. */
  left: string | null
}

/** The block at a place, and which of its edges. */
export function hitAt(clientX: number, touch: boolean): Hit | null {
  const ms = viewport.msAt(clientX)
  const list = blocks()
  const reach = EDGE_PX[touch ? 'touch' : 'mouse'] / viewport.pxPerMs
  const near = (block: Block) => Math.min(reach, (blockEnd(block, time()) - block.startMs) / 3)
  const index = list.findIndex((block) => block.startMs <= ms && ms < blockEnd(block, time()))
  const block = list[index]
  if (!block) return null
  const edge =
    ms - block.startMs < near(block) ? 'start' : block.endMs !== null && block.endMs - ms < near(block) ? 'end' : null
  if (edge === null || block.locked) return { block, edge: null, left: null }
  const leftId = edge === 'end' ? block.id : list[index - 1]?.id
  return { block, edge, left: leftId !== undefined && edits.sharesEdge(list, leftId) ? leftId : null }
}

export function cursorAt(clientX: number, touch: boolean): string {
  const hit = hitAt(clientX, touch)
  if (!hit) return 'default'
  if (hit.edge) return hit.left ? 'col-resize' : 'ew-resize'
  return hit.block.locked || hit.block.endMs === null ? 'default' : 'grab'
}

const cancelled = () => cancelGesture()

function moveBlocks(press: Press, click: () => void): void {
  const ids = selected()
  const from = viewport.msAt(press.clientX)
  const moving = blocks().filter(({ id }) => ids.has(id))
  const near = magnets(ids)
  const edges = moving.flatMap((block) => [block.startMs, blockEnd(block, time())])
  follow(press, {
    click,
    move: (point) => {
      const delta = viewport.msAt(point.clientX) - from
      const { ms, to } = free(point) ? { ms: delta, to: null } : snapDelta(edges, delta, near)
      const move = point.altKey ? edits.rippleMove : edits.move
      viewStore.setState({ snapLine: to, gesture: { label: steps.move, change: (list) => move(list, ids, ms) } })
    },
    end: endGesture,
    cancel: cancelled,
  })
}

function moveEdge(press: Press, { block, edge, left }: Hit, click: () => void): void {
  const ripple = press.ctrlKey || press.metaKey
  const pair =
    left === null || ripple ? [block.id] : [left, blocks()[blocks().findIndex(({ id }) => id === left) + 1]?.id]
  const near = magnets(new Set(pair.filter((id) => id !== undefined)))
  const grip = gripOn(press, edge === 'start' ? block.startMs : blockEnd(block, time()))
  follow(press, {
    click,
    move: (point) => {
      // Ctrl asked for the ripple, and so cannot also switch snapping off.
      const plain = { clientX: point.clientX, altKey: point.altKey, ctrlKey: false, metaKey: false }
      const to = drawn(ripple ? plain : point, near, grip)
      viewStore.setState({
        gesture: {
          label: steps.trim,
          change: (list, now) => {
            if (ripple) return edits.rippleTrim(list, block.id, edge ?? 'end', to)
            if (left !== null) return edits.roll(list, left, to, now)
            return edits.trim(list, block.id, edge ?? 'end', to, now)
          },
        },
      })
    },
    end: endGesture,
    cancel: cancelled,
  })
}

/** Draws a stretch of time: to select what it touches, or to loop it. */
function drawStretch(press: Press, loop: boolean, click: () => void): void {
  const near = magnets(new Set())
  const at = (point: Point) => (loop ? drawn(point, near) : Math.max(0, viewport.msAt(point.clientX)))
  const aMs = at(press)
  let bMs = aMs
  const before = press.shiftKey && !loop ? view().selection : []
  const clean = () => viewStore.setState({ stretch: null, snapLine: null })
  follow(press, {
    click: () => {
      clean()
      click()
    },
    move: (point) => {
      bMs = at(point)
      viewStore.setState({ stretch: { aMs, bMs, loop } })
      if (loop) return
      const touched = edits.idsIn(blocks(), Math.min(aMs, bMs), Math.max(aMs, bMs), time())
      select([...new Set([...before, ...touched])], touched.at(-1) ?? null)
    },
    end: () => {
      clean()
      if (loop) editDoc(steps.loop, (doc) => ({ ...doc, loop: loopOver(aMs, bMs) }))
    },
    cancel: clean,
  })
}

function pan(press: Press): void {
  let x = press.clientX
  follow(press, {
    eager: true,
    move: (point) => {
      viewport.panBy(x - point.clientX)
      x = point.clientX
    },
    end: () => undefined,
    cancel: () => undefined,
  })
}

/** A press on the row of blocks. */
export function pressRow(press: Press): void {
  const touch = press.pointerType === 'touch'
  if (press.button === 1) {
    press.preventDefault()
    pan(press)
    return
  }
  const hit = hitAt(press.clientX, touch)
  if (!hit) {
    if (press.button === 0) pressFree(press)
    return
  }
  const { id } = hit.block
  const before = view()
  const isSelected = before.selection.includes(id)
  if (press.button !== 0 || (press.ctrlKey && press.button === 0 && /Mac/.test(navigator.platform))) {
    // A menu is about to open, for the selection if it was asked for there.
    if (!isSelected) select([id])
    return
  }
  const alone = () => select([id])
  if (touch) {
    if (!isSelected)
      follow(press, { click: alone, move: () => undefined, end: () => undefined, cancel: () => undefined })
    else if (hit.edge) moveEdge(press, hit, alone)
    else moveBlocks(press, alone)
    return
  }
  if (hit.edge && !press.shiftKey) {
    if (!isSelected) alone()
    moveEdge(press, hit, alone)
    return
  }
  if (press.shiftKey) {
    const anchor = before.anchor ?? before.current ?? id
    drawStretch(press, false, () => select(edits.idsBetween(blocks(), anchor, id), id, anchor))
    return
  }
  if (press.ctrlKey || press.metaKey) {
    const next = isSelected ? before.selection.filter((other) => other !== id) : [...before.selection, id]
    select(next, id)
    return
  }
  if (!isSelected) alone()
  moveBlocks(press, alone)
}

/** A press where no block is. */
export function pressFree(press: Press): void {
  if (press.button === 1) pan(press)
  if (press.button !== 0) return
  if (press.pointerType === 'touch') {
    follow(press, { click: () => select([]), move: () => undefined, end: () => undefined, cancel: () => undefined })
    return
  }
  drawStretch(press, false, () => select([]))
}

/** A press on the ruler or the playhead: scrubs, and with Shift draws a loop. */
export function pressRuler(press: Press): void {
  if (press.button === 1) pan(press)
  if (press.button !== 0) return
  if (press.shiftKey) {
    drawStretch(press, true, () => undefined)
    return
  }
  const before = time()
  const near = magnets(new Set(), { playhead: false })
  scope.transport.beginScrub()
  const end = () => {
    viewStore.setState({ snapLine: null })
    scope.transport.endScrub()
  }
  follow(press, {
    eager: true,
    move: (point) => scope.transport.seek(drawn(point, near)),
    end,
    cancel: () => {
      scope.transport.seek(before)
      end()
    },
  })
}

export function pressMarker(press: Press, id: string): void {
  if (press.button !== 0) return
  press.stopPropagation()
  const marker = docStore.getState().markers.find((entry) => entry.id === id)
  if (!marker) return
  const near = magnets(new Set())
  const others = { ...near, times: near.times.filter((ms) => ms !== marker.atMs) }
  const grip = gripOn(press, marker.atMs)
  let atMs = marker.atMs
  const clean = () => viewStore.setState({ markers: null, snapLine: null })
  follow(press, {
    click: () => {
      scope.transport.seek(marker.atMs)
    },
    move: (point) => {
      atMs = drawn(point, others, grip)
      viewStore.setState({ markers: changeMarker(docStore.getState().markers, id, { atMs }) })
    },
    end: () => {
      clean()
      editDoc(steps.marker, (doc) => ({ ...doc, markers: changeMarker(doc.markers, id, { atMs }) }))
    },
    cancel: clean,
  })
}

export function pressLoopEnd(press: Press, end: 'in' | 'out'): void {
  if (press.button !== 0) return
  press.stopPropagation()
  const { loop } = docStore.getState()
  if (!loop) return
  const near = magnets(new Set())
  const others = { ...near, times: near.times.filter((ms) => ms !== (end === 'in' ? loop.inMs : loop.outMs)) }
  const grip = gripOn(press, end === 'in' ? loop.inMs : loop.outMs)
  let next = loop
  const clean = () => viewStore.setState({ stretch: null, snapLine: null })
  follow(press, {
    move: (point) => {
      next = moveLoopEnd(loop, end, drawn(point, others, grip))
      viewStore.setState({ stretch: { aMs: next.inMs, bMs: next.outMs, loop: true } })
    },
    end: () => {
      clean()
      editDoc(steps.loop, (doc) => ({ ...doc, loop: next }))
    },
    cancel: clean,
  })
}

/** A press on the small overview: the view goes there and follows. */
export function pressOverview(press: Press): void {
  if (press.button !== 0) return
  const box = press.currentTarget.getBoundingClientRect()
  const go = ({ clientX }: Point) => {
    const end = Math.max(endOf(blocks(), time()), 1)
    viewport.scrollTo(((clientX - box.left) / box.width) * end * viewport.pxPerMs - viewport.width / 2)
  }
  follow(press, { eager: true, move: go, end: () => undefined, cancel: () => undefined })
}

/** Ctrl+wheel and the pinch of a trackpad zoom at the cursor; a plain wheel pans. */
export function wheel(event: WheelEvent): void {
  event.preventDefault()
  const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1
  if (event.ctrlKey || event.metaKey) viewport.zoomBy(Math.exp(-event.deltaY * unit * 0.0035), event.clientX)
  else viewport.panBy((Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.deltaY) * unit)
}

/** Two fingers zoom at their middle and pan. */
export function pinch(element: HTMLElement): () => void {
  let before: { distance: number; middle: number } | null = null
  const read = ({ touches }: TouchEvent) => {
    const [a, b] = [touches[0], touches[1]]
    if (!a || !b) return null
    return { distance: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY), middle: (a.clientX + b.clientX) / 2 }
  }
  const start = (event: TouchEvent) => {
    before = read(event)
  }
  const move = (event: TouchEvent) => {
    const now = read(event)
    if (!now || !before) return
    event.preventDefault()
    viewport.panBy(before.middle - now.middle)
    viewport.zoomBy(now.distance / Math.max(1, before.distance), now.middle)
    before = now
  }
  element.addEventListener('touchstart', start, { passive: true })
  element.addEventListener('touchmove', move, { passive: false })
  element.addEventListener('touchend', start, { passive: true })
  return () => {
    element.removeEventListener('touchstart', start)
    element.removeEventListener('touchmove', move)
    element.removeEventListener('touchend', start)
  }
}
