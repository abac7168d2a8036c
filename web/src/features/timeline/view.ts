import { createStore } from 'zustand/vanilla'
import { z } from '../../api/zod'
import { scope } from '../../app'
import type { Edit } from '../../doc/edits'
import type { Block, Marker } from '../../doc/model'
import { docStore } from '../../doc/store'
import { endOf } from '../../doc/timeline'

/** What the timeline shows of the document and what is selected in it; no part of the document. */

/** A change that is being made by hand or with the arrow keys: shown at once, one step when it ends. */
export interface Gesture {
  label: string
  change(blocks: readonly Block[], nowMs: number): Edit
  /** Begun with the keyboard, and ended by Enter or Escape. */
  keys?: boolean
}

export interface Editing {
  id: string
  what: 'prompt' | 'label' | 'marker'
}

interface ViewState {
  /** Pixels a second. */
  scale: number
  /** The stretch of time whose blocks are in the page. */
  fromMs: number
  toMs: number
  selection: readonly string[]
  /** Where the keyboard is. */
  current: string | null
  /** Where a range selection began. */
  anchor: string | null
  gesture: Gesture | null
  editing: Editing | null
  /** The time that something is being drawn to. */
  snapLine: number | null
  /** A stretch of time that is being drawn, to select or to loop. */
  stretch: { aMs: number; bMs: number; loop: boolean } | null
  /** Markers and loop while one of them is being dragged. */
  markers: readonly Marker[] | null
  /** Whether there are copies to paste. */
  copies: readonly Block[]
  snapping: boolean
  follow: boolean
  append: boolean
  /** Going back is a hard cut. */
  cutBack: boolean
}

/** Two hours fit a wide window. */
export const MIN_SCALE = 0.2
export const MAX_SCALE = 400
const DEFAULT_SCALE = 40
/** Before time zero, so that the playhead can be taken hold of there. */
export const PAD_PX = 12
const PREFS_KEY = 'scope.timeline'

const prefsSchema = z.object({
  snapping: z.boolean(),
  follow: z.boolean(),
  append: z.boolean(),
  cutBack: z._default(z.boolean(), false),
})

const PREFS = ['snapping', 'follow', 'append', 'cutBack'] as const

function readPrefs(): z.infer<typeof prefsSchema> {
  try {
    return prefsSchema.parse(JSON.parse(localStorage.getItem(PREFS_KEY) ?? ''))
  } catch {
    return { snapping: true, follow: true, append: false, cutBack: false }
  }
}

export const viewStore = createStore<ViewState>(() => ({
  scale: DEFAULT_SCALE,
  fromMs: 0,
  toMs: 120_000,
  selection: [],
  current: null,
  anchor: null,
  gesture: null,
  editing: null,
  snapLine: null,
  stretch: null,
  markers: null,
  copies: [],
  ...readPrefs(),
}))

export const view = () => viewStore.getState()

scope.transport.appends = view().append
scope.transport.cutsBack = view().cutBack
viewStore.subscribe((next, before) => {
  const { snapping, follow, append, cutBack } = next
  const prefs = { snapping, follow, append, cutBack }
  if (PREFS.every((key) => next[key] === before[key])) return
  scope.transport.appends = append
  scope.transport.cutsBack = cutBack
  try {
    localStorage.setItem(PREFS_KEY, JSON.stringify(prefs))
  } catch {
    // A full or forbidden storage: the choice holds until the page is closed.
  }
})

// What is gone is not selected.
docStore.subscribe((next, before) => {
  if (next.blocks === before.blocks) return
  const { selection, current } = view()
  const ids = new Set(next.blocks.map(({ id }) => id))
  const kept = selection.filter((id) => ids.has(id))
  const gone = current !== null && !ids.has(current)
  if (kept.length !== selection.length || gone) viewStore.setState({ selection: kept, current: kept[0] ?? null })
})

export function select(ids: readonly string[], current: string | null = ids.at(-1) ?? null, anchor = current): void {
  viewStore.setState({ selection: ids, current, anchor })
}

export const selected = (): ReadonlySet<string> => new Set(view().selection)

/** Space kept free behind the last block, as a part of the visible width. */
const AFTER = 1
const WIDTH_STEP = 240
/** How far the rendered stretch reaches beyond the view on either side, in widths of the view. */
const BESIDE = 0.4
/** It stays while the view is inside, unless it is this many times as wide. */
const WIDEST = 5
const FIT_MARGIN = 24

/** The scrolled, zoomed part of the page: its size, its place, and the way between pixels and times. */
class Viewport {
  width = 0
  scrolled = 0
  private scroller: HTMLElement | null = null
  private content: HTMLElement | null = null
  private contentWidth = 0
  private readonly moved = new Set<() => void>()

  attach(scroller: HTMLElement, content: HTMLElement): () => void {
    this.scroller = scroller
    this.content = content
    this.contentWidth = 0
    const onScroll = () => this.readScroll()
    const resized = new ResizeObserver(([entry]) => {
      this.width = entry?.contentRect.width ?? this.width
      this.layout()
      this.changed()
    })
    this.width = scroller.clientWidth
    scroller.addEventListener('scroll', onScroll, { passive: true })
    resized.observe(scroller)
    this.setScale(view().scale)
    this.scrollTo(this.scrolled)
    this.changed()
    return () => {
      scroller.removeEventListener('scroll', onScroll)
      resized.disconnect()
      this.scroller = null
      this.content = null
    }
  }

  /** Calls after scrolling, zooming and resizing. */
  subscribe(listener: () => void): () => void {
    this.moved.add(listener)
    return () => this.moved.delete(listener)
  }

  get pxPerMs(): number {
    return view().scale / 1000
  }

  /** Where time zero is in the window when nothing is scrolled. */
  private get left(): number {
    return (this.scroller?.getBoundingClientRect().left ?? 0) + PAD_PX
  }

  /** Takes over where somebody else has scrolled to. */
  private readScroll(): void {
    if (!this.scroller) return
    // Our own scrolling comes back rounded to whole pixels; the rest must not add up while zooming.
    const { scrollLeft } = this.scroller
    if (Math.abs(scrollLeft - this.scrolled) < 1) return
    this.scrolled = scrollLeft
    this.changed()
  }

  /** The time at a place of the window. */
  msAt(clientX: number): number {
    // A press may come before the event that tells of the scrolling.
    this.readScroll()
    return (clientX - this.left + this.scrolled) / this.pxPerMs
  }

  /** Blocks are placed by times; the style sheet knows how long a millisecond is, so that zooming renders none of them. */
  private setScale(scale: number): void {
    viewStore.setState({ scale: Math.min(MAX_SCALE, Math.max(MIN_SCALE, scale)) })
    this.content?.style.setProperty('--ms', `${this.pxPerMs}px`)
    this.layout()
  }

  /** Makes the content as long as the timeline, in steps, so that growing seldom changes the layout. */
  layout(): void {
    const end = endOf(docStore.getState().blocks, scope.transport.time())
    const needed = end * this.pxPerMs + this.width * AFTER
    const wanted = Math.max(this.width - PAD_PX, Math.ceil(needed / WIDTH_STEP) * WIDTH_STEP)
    if (!this.content || wanted === this.contentWidth) return
    this.contentWidth = wanted
    this.content.style.width = `${wanted}px`
  }

  scrollTo(x: number): void {
    if (!this.scroller) return
    this.scrolled = Math.min(Math.max(0, x), Math.max(0, this.contentWidth + PAD_PX - this.width))
    this.scroller.scrollLeft = this.scrolled
    this.changed()
  }

  panBy(px: number): void {
    this.scrollTo(this.scrolled + px)
  }

  /** Zooms so that the time at a place of the window stays there; at the playhead or the middle without a place. */
  zoomTo(scale: number, clientX: number | null = null): void {
    const head = scope.transport.time() * this.pxPerMs - this.scrolled
    const middle = head >= 0 && head <= this.width ? head : this.width / 2
    const offset = clientX === null ? middle : clientX - this.left
    const ms = (offset + this.scrolled) / this.pxPerMs
    this.setScale(scale)
    this.scrollTo(ms * this.pxPerMs - offset)
  }

  zoomBy(factor: number, clientX: number | null = null): void {
    this.zoomTo(view().scale * factor, clientX)
  }

  /** Shows a stretch of time as large as it fits. */
  fit(fromMs: number, toMs: number): void {
    const room = Math.max(1, this.width - 2 * FIT_MARGIN)
    this.setScale((room / Math.max(500, toMs - fromMs)) * 1000)
    this.scrollTo(fromMs * this.pxPerMs + PAD_PX - FIT_MARGIN)
  }

  /** Scrolls as little as shows a stretch of time, its start at least. */
  reveal(fromMs: number, toMs = fromMs): void {
    const margin = Math.min(FIT_MARGIN * 2, this.width / 4)
    const [from, to] = [fromMs * this.pxPerMs, toMs * this.pxPerMs]
    if (from < this.scrolled) this.scrollTo(from - margin)
    else if (to > this.scrolled + this.width) this.scrollTo(Math.min(from - margin, to - this.width + margin))
  }

  private changed(): void {
    const [from, to] = [this.scrolled / this.pxPerMs, (this.scrolled + this.width) / this.pxPerMs]
    const span = Math.max(1, to - from)
    const { fromMs, toMs } = view()
    const inside = Math.max(0, from) >= fromMs && to <= toMs && toMs - fromMs <= WIDEST * span
    if (!inside) viewStore.setState({ fromMs: Math.max(0, from - span * BESIDE), toMs: to + span * BESIDE })
    for (const listener of this.moved) listener()
  }
}

export const viewport = new Viewport()
