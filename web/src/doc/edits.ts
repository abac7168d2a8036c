import { type Block, newId, type WirePrompt } from './model'
import { blockEnd, endOf, liveBlock, MIN_BLOCK_MS } from './timeline'

/**
 * Edits of the list of takes by hand. Pure; the invariants of `timeline.ts` hold after each, and locked blocks stay as they
 * are. `nowMs` is the time of the clock, where the open block has got to. An edit that cannot be done gives back the blocks
 * that it was given.
 */

export interface Edit {
  blocks: readonly Block[]
  /** By how much the live end, and with it the clock of what is live, has moved. */
  shiftMs: number
  /** The blocks that the edit made. */
  made: readonly string[]
}

export type Edge = 'start' | 'end'
export type Ids = ReadonlySet<string>

const done = (blocks: readonly Block[], shiftMs = 0, made: readonly string[] = []): Edit => ({ blocks, shiftMs, made })
const clamp = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value))
/** An open block moves along with the clock, so a lock on it holds nothing in place. */
const anchored = (block: Block) => block.locked === true && block.endMs !== null
const isOpen = (block: Block) => block.endMs === null
/** Where a block has really got to; one that has just been opened has no length yet. */
const reached = (block: Block, nowMs: number) => block.endMs ?? Math.max(Math.round(nowMs), block.startMs)

function by(block: Block, deltaMs: number): Block {
  if (deltaMs === 0) return block
  return {
    ...block,
    startMs: block.startMs + deltaMs,
    endMs: block.endMs === null ? null : block.endMs + deltaMs,
  }
}

/** From one block to another in either direction, and all between. */
export function idsBetween(blocks: readonly Block[], a: string, b: string): string[] {
  const [i, j] = [a, b].map((id) => blocks.findIndex((block) => block.id === id)) as [number, number]
  if (i < 0 || j < 0) return [a, b].filter((id) => blocks.some((block) => block.id === id))
  return blocks.slice(Math.min(i, j), Math.max(i, j) + 1).map(({ id }) => id)
}

/** The blocks that a stretch of time touches. */
export function idsIn(blocks: readonly Block[], fromMs: number, toMs: number, nowMs: number): string[] {
  return blocks.filter((block) => block.startMs < toMs && blockEnd(block, nowMs) > fromMs).map(({ id }) => id)
}

/** By how much all blocks from an index on can move right, up to the next locked one. */
function roomFrom(blocks: readonly Block[], index: number): number {
  const stop = blocks.findIndex((block, i) => i >= index && anchored(block))
  const anchor = blocks[stop]
  if (!anchor) return Number.POSITIVE_INFINITY
  return anchor.startMs - (stop > 0 ? (blocks[stop - 1]?.endMs ?? 0) : 0)
}

/** Moves everything from an index on, up to the next locked block. The caller has looked whether there is room. */
function ripple(blocks: readonly Block[], index: number, deltaMs: number): Edit {
  const stop = blocks.findIndex((block, i) => i >= index && anchored(block))
  const end = stop < 0 ? blocks.length : stop
  const moved = blocks.map((block, i) => (i >= index && i < end ? by(block, deltaMs) : block))
  return done(moved, stop < 0 && liveBlock(blocks) ? deltaMs : 0)
}

const movable = (block: Block, ids: Ids) => ids.has(block.id) && !block.locked && !isOpen(block)

/** The way nearest to the wanted one by which the blocks can move without meeting another. */
function freeDelta(blocks: readonly Block[], ids: Ids, wanted: number): number {
  const moving = blocks.filter((block) => movable(block, ids))
  const first = moving[0]
  if (!first) return 0
  const forbidden: [number, number][] = [[Number.NEGATIVE_INFINITY, -first.startMs]]
  for (const block of blocks) {
    if (movable(block, ids)) continue
    for (const { startMs, endMs } of moving) {
      forbidden.push([block.startMs - (endMs ?? 0), (block.endMs ?? Number.POSITIVE_INFINITY) - startMs])
    }
  }
  forbidden.sort(([a], [b]) => a - b)
  let best = Number.NaN
  const offer = (delta: number) => {
    if (Number.isFinite(delta) && !(Math.abs(delta - wanted) >= Math.abs(best - wanted))) best = delta
  }
  // The open stretches between what is forbidden; their ends are allowed.
  let free = Number.NEGATIVE_INFINITY
  for (const [low, high] of forbidden) {
    if (low >= free) offer(clamp(wanted, free, low))
    free = Math.max(free, high)
  }
  if (free < Number.POSITIVE_INFINITY) offer(Math.max(wanted, free))
  return Number.isNaN(best) ? 0 : best
}

const moveBy = (blocks: readonly Block[], ids: Ids, deltaMs: number): readonly Block[] =>
  deltaMs === 0
    ? blocks
    : blocks.map((block) => (movable(block, ids) ? by(block, deltaMs) : block)).sort((a, b) => a.startMs - b.startMs)

/** Where the run of blocks that move lies in the list; null if there are none or others between them. */
function runOf(blocks: readonly Block[], ids: Ids): [number, number] | null {
  const from = blocks.findIndex((block) => movable(block, ids))
  const to = blocks.findLastIndex((block) => movable(block, ids)) + 1
  return from >= 0 && blocks.slice(from, to).every((block) => movable(block, ids)) ? [from, to] : null
}

/** Exchanges the places of a run and of the blocks right before or after it; the time they take together stays. */
function swap(blocks: readonly Block[], [from, to]: [number, number], count: number): readonly Block[] {
  const left = count < 0 ? from + count : from
  const right = count < 0 ? to : to + count
  const middle = count < 0 ? from : to
  const [a, b] = [blocks.slice(left, middle), blocks.slice(middle, right)]
  const [firstA, lastA, firstB, lastB] = [a[0], a.at(-1), b[0], b.at(-1)]
  if (!firstA || !lastA || !firstB || !lastB || [...a, ...b].some((block) => block.locked || isOpen(block)))
    return blocks
  const back = firstA.startMs - firstB.startMs
  const forth = (lastB.endMs ?? 0) - (lastA.endMs ?? 0)
  return [
    ...blocks.slice(0, left),
    ...b.map((block) => by(block, back)),
    ...a.map((block) => by(block, forth)),
    ...blocks.slice(right),
  ]
}

/** How many neighbours a run has been drawn over, to the left negative: those whose middle its leading edge has passed. */
function passed(blocks: readonly Block[], [from, to]: [number, number], deltaMs: number): number {
  const middle = (block: Block) => (block.startMs + (block.endMs ?? block.startMs)) / 2
  const fixed = (block: Block | undefined) => !block || block.locked === true || isOpen(block)
  let count = 0
  if (deltaMs > 0) {
    const edge = (blocks[to - 1]?.endMs ?? 0) + deltaMs
    for (let i = to; i < blocks.length; i++) {
      const block = blocks[i]
      if (!block || fixed(block) || middle(block) > edge) break
      count += 1
    }
  } else {
    const edge = (blocks[from]?.startMs ?? 0) + deltaMs
    for (let i = from - 1; i >= 0; i--) {
      const block = blocks[i]
      if (!block || fixed(block) || middle(block) < edge) break
      count -= 1
    }
  }
  return count
}

/** Moves blocks to where they are drawn: into free time, else in exchange for neighbours, else as near as there is room. */
export function move(blocks: readonly Block[], ids: Ids, deltaMs: number): Edit {
  const wanted = Math.round(deltaMs)
  const free = freeDelta(blocks, ids, wanted)
  const run = runOf(blocks, ids)
  const over = free === wanted || !run ? 0 : passed(blocks, run, wanted)
  return done(run && over !== 0 ? swap(blocks, run, over) : moveBy(blocks, ids, free))
}

/** Moves blocks and everything after them, up to the next locked one. */
export function rippleMove(blocks: readonly Block[], ids: Ids, deltaMs: number): Edit {
  const index = blocks.findIndex((block) => movable(block, ids))
  const first = blocks[index]
  if (!first) return done(blocks)
  const back = first.startMs - (blocks[index - 1]?.endMs ?? 0)
  const delta = clamp(Math.round(deltaMs), -back, roomFrom(blocks, index))
  return delta === 0 ? done(blocks) : ripple(blocks, index, delta)
}

/** Moves by a small step into free time, never past a neighbour. */
export function nudge(blocks: readonly Block[], ids: Ids, deltaMs: number): Edit {
  let low = Number.NEGATIVE_INFINITY
  let high = Number.POSITIVE_INFINITY
  blocks.forEach((block, i) => {
    if (!movable(block, ids)) return
    const [previous, next] = [blocks[i - 1], blocks[i + 1]]
    if (!previous || !movable(previous, ids)) low = Math.max(low, (previous?.endMs ?? 0) - block.startMs)
    if (next && !movable(next, ids)) high = Math.min(high, next.startMs - (block.endMs ?? 0))
  })
  return done(moveBy(blocks, ids, low > high ? 0 : clamp(Math.round(deltaMs), low, high)))
}

/** A step with the keyboard: into free time, and where there is none, in exchange for the neighbour. */
export function step(blocks: readonly Block[], ids: Ids, deltaMs: number): Edit {
  const nudged = nudge(blocks, ids, deltaMs)
  const run = runOf(blocks, ids)
  if (nudged.blocks !== blocks || !run) return nudged
  const count = Math.sign(deltaMs)
  const neighbour = blocks[count < 0 ? run[0] - 1 : run[1]]
  return neighbour ? done(swap(blocks, run, count)) : nudged
}

/** The earliest and the latest place of a block's edge while nothing else moves. */
function edgeLimits(blocks: readonly Block[], index: number, edge: Edge, nowMs: number): [number, number] {
  const block = blocks[index] as Block
  if (edge === 'start') return [blocks[index - 1]?.endMs ?? 0, blockEnd(block, nowMs) - MIN_BLOCK_MS]
  return [block.startMs + MIN_BLOCK_MS, blocks[index + 1]?.startMs ?? Number.POSITIVE_INFINITY]
}

/** Moves one edge of a block, as far as its neighbour. */
export function trim(blocks: readonly Block[], id: string, edge: Edge, toMs: number, nowMs: number): Edit {
  const index = blocks.findIndex((block) => block.id === id)
  const block = blocks[index]
  if (!block || block.locked || (edge === 'end' && isOpen(block))) return done(blocks)
  const [low, high] = edgeLimits(blocks, index, edge, nowMs)
  if (low > high) return done(blocks)
  const at = clamp(Math.round(toMs), low, high)
  if (at === (edge === 'start' ? block.startMs : block.endMs)) return done(blocks)
  const changed = edge === 'start' ? { ...block, startMs: at } : { ...block, endMs: at }
  return done(blocks.with(index, changed))
}

/** Whether a block and the next one share an edge that can be rolled. */
export function sharesEdge(blocks: readonly Block[], id: string): boolean {
  const index = blocks.findIndex((block) => block.id === id)
  const [left, right] = [blocks[index], blocks[index + 1]]
  return left !== undefined && right !== undefined && left.endMs === right.startMs && !left.locked && !right.locked
}

/** Moves the edge that a block shares with the next one; both stay adjacent. */
export function roll(blocks: readonly Block[], leftId: string, toMs: number, nowMs: number): Edit {
  const index = blocks.findIndex((block) => block.id === leftId)
  const [left, right] = [blocks[index], blocks[index + 1]]
  if (!left || !right || !sharesEdge(blocks, leftId)) return done(blocks)
  const [low, high] = [left.startMs + MIN_BLOCK_MS, blockEnd(right, nowMs) - MIN_BLOCK_MS]
  if (low > high) return done(blocks)
  const at = clamp(Math.round(toMs), low, high)
  if (at === left.endMs) return done(blocks)
  return done(blocks.with(index, { ...left, endMs: at }).with(index + 1, { ...right, startMs: at }))
}

/** Changes a block's length by drawing an edge; what follows moves along, up to the next locked block. */
export function rippleTrim(blocks: readonly Block[], id: string, edge: Edge, toMs: number): Edit {
  const index = blocks.findIndex((block) => block.id === id)
  const block = blocks[index]
  if (!block || block.locked || block.endMs === null) return done(blocks)
  const wanted = edge === 'end' ? Math.round(toMs) - block.endMs : block.startMs - Math.round(toMs)
  const shortest = MIN_BLOCK_MS - (block.endMs - block.startMs)
  const delta = clamp(wanted, shortest, roomFrom(blocks, index + 1))
  if (delta === 0) return done(blocks)
  const longer = blocks.with(index, { ...block, endMs: block.endMs + delta })
  return ripple(longer, index + 1, delta)
}

/** Cuts the block under a time in two; the second part goes on without a transition of its own. */
export function split(blocks: readonly Block[], atMs: number, nowMs: number): Edit {
  const at = Math.round(atMs)
  const index = blocks.findLastIndex(({ startMs }) => startMs <= at)
  const block = blocks[index]
  if (!block || block.locked || at - block.startMs < MIN_BLOCK_MS) return done(blocks)
  // The open block can be cut right where it has got to.
  if (block.endMs === null ? at > nowMs : block.endMs - at < MIN_BLOCK_MS) return done(blocks)
  const rest: Block = { ...block, id: newId(), startMs: at, transition: null, cut: 'soft' }
  return done([...blocks.slice(0, index), { ...block, endMs: at }, rest, ...blocks.slice(index + 1)], 0, [rest.id])
}

/** Takes blocks away, and with `close` also the time they took, up to the next locked block. */
export function remove(blocks: readonly Block[], ids: Ids, close: boolean, nowMs: number): Edit {
  const gone = (block: Block) => ids.has(block.id) && !block.locked
  if (!blocks.some(gone)) return done(blocks)
  let offset = 0
  const left = blocks.flatMap((block) => {
    if (anchored(block)) offset = 0
    if (!gone(block)) return [close ? by(block, offset) : block]
    offset -= reached(block, nowMs) - block.startMs
    return []
  })
  return done(left, close && liveBlock(blocks) ? offset : 0)
}

/** Takes all blocks away but locked ones; what is live goes on right after them. */
export function clear(blocks: readonly Block[], nowMs: number): Edit {
  const left = blocks.filter(anchored)
  if (left.length === blocks.length) return done(blocks)
  const live = liveBlock(blocks)
  return done(left, live ? endOf(left, 0) - reached(live, nowMs) : 0)
}

/** Copies as they are pasted: their times count from the first. The open block counts up to now. */
export function copy(blocks: readonly Block[], ids: Ids, nowMs: number): Block[] {
  const chosen = blocks.filter(({ id }) => ids.has(id))
  const origin = chosen[0]?.startMs ?? 0
  return chosen.map(({ locked: _, ...block }) => by({ ...block, endMs: blockEnd(block, nowMs) }, -origin))
}

/** Puts copies before the block at an index, from a time on; what follows makes room. */
function insert(blocks: readonly Block[], index: number, startMs: number, copies: readonly Block[]): Edit {
  const span = endOf(copies, 0)
  const next = blocks[index]
  const missing = next ? Math.max(0, startMs + span - next.startMs) : 0
  if (next && missing > (anchored(next) ? 0 : roomFrom(blocks, index)))
    return insert(blocks, index + 1, next.endMs ?? 0, copies)
  const { blocks: moved, shiftMs } = ripple(blocks, index, missing)
  const made = copies.map((block) => ({ ...by(block, startMs), id: newId() }))
  const ids = made.map(({ id }) => id)
  return done([...moved.slice(0, index), ...made, ...moved.slice(index)], shiftMs, ids)
}

/** Pastes copies at a time; inside a block, at the nearer of its edges. */
export function paste(blocks: readonly Block[], copies: readonly Block[], atMs: number, nowMs: number): Edit {
  if (copies.length === 0) return done(blocks)
  const at = Math.max(0, Math.round(atMs))
  const index = blocks.findLastIndex(({ startMs }) => startMs <= at)
  const held = blocks[index]
  const heldEnd = held ? blockEnd(held, nowMs) : 0
  if (!held || (at >= heldEnd && !isOpen(held))) return insert(blocks, index + 1, at, copies)
  if (isOpen(held) || at - held.startMs < heldEnd - at) return insert(blocks, index, held.startMs, copies)
  return insert(blocks, index + 1, heldEnd, copies)
}

/** Puts copies right after the last of the blocks, before what is live. */
export function duplicate(blocks: readonly Block[], ids: Ids, nowMs: number): Edit {
  const last = blocks.findLast(({ id }) => ids.has(id))
  if (!last) return done(blocks)
  return paste(blocks, copy(blocks, ids, nowMs), last.endMs ?? last.startMs, nowMs)
}

const each = (blocks: readonly Block[], ids: Ids, change: (block: Block) => Block): Edit =>
  done(blocks.map((block) => (ids.has(block.id) ? change(block) : block)))

/** Changes what blocks say or look like; locked ones stay. */
export function restyle(
  blocks: readonly Block[],
  ids: Ids,
  change: Partial<Pick<Block, 'color' | 'cut' | 'transition'>>,
): Edit {
  return each(blocks, ids, (block) => (block.locked ? block : { ...block, ...change }))
}

export function rename(blocks: readonly Block[], id: string, label: string): Edit {
  return each(blocks, new Set([id]), (block) => {
    if (block.locked) return block
    const { label: _, ...plain } = block
    return label.trim() === '' ? plain : { ...plain, label: label.trim() }
  })
}

export function reprompt(blocks: readonly Block[], id: string, prompts: readonly WirePrompt[]): Edit {
  return each(blocks, new Set([id]), (block) =>
    block.locked || prompts.length === 0 ? block : { ...block, prompts: [...prompts] },
  )
}

export function setLocked(blocks: readonly Block[], ids: Ids, locked: boolean): Edit {
  return each(blocks, ids, (block) => {
    const { locked: _, ...plain } = block
    return locked && !isOpen(block) ? { ...plain, locked } : plain
  })
}
