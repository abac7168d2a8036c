import type { Block, WirePrompt } from './model'
import { newId } from './model'
import { samePrompts } from './prompts'

/**
 * The list of takes, and how playing makes it grow. Pure. Invariants: sorted, no overlap, gaps allowed, none shorter than
 * `MIN_BLOCK_MS`, whole milliseconds, only the last open.
 */

export const MIN_BLOCK_MS = 100
export const COLORS = 8

export interface Take {
  prompts: readonly WirePrompt[]
  transition: Block['transition']
  cut: Block['cut']
}

export const nextColor = (previous: Block | undefined): number => (previous ? (previous.color % COLORS) + 1 : 1)

/** Where a block ends, for the open one at `nowMs`. */
export function blockEnd(block: Block, nowMs: number): number {
  return block.endMs ?? Math.max(Math.round(nowMs), block.startMs + MIN_BLOCK_MS)
}

export function endOf(blocks: readonly Block[], nowMs: number): number {
  const last = blocks.at(-1)
  return last ? blockEnd(last, nowMs) : 0
}

export function liveBlock(blocks: readonly Block[]): Block | null {
  const last = blocks.at(-1)
  return last?.endMs === null ? last : null
}

/** The block whose prompts are in force at a time: in a gap the one before it. */
export function heldBlock(blocks: readonly Block[], atMs: number): Block | null {
  return blocks.findLast(({ startMs }) => startMs <= atMs) ?? null
}

/** The block under the playhead, none in a gap. */
export function blockUnder(blocks: readonly Block[], atMs: number): Block | null {
  const held = heldBlock(blocks, atMs)
  return held && (held.endMs === null || atMs < held.endMs) ? held : null
}

/** What is wrong with a list of blocks, in words; nothing for one that keeps the invariants. */
export function faults(blocks: readonly Block[]): string[] {
  return blocks.flatMap((block, i) => {
    const found: string[] = []
    const next = blocks[i + 1]
    if (!Number.isInteger(block.startMs) || block.startMs < 0) found.push(`block ${i} starts at ${block.startMs}`)
    if (block.endMs === null) {
      if (next) found.push(`block ${i} is open but not the last`)
      return found
    }
    if (!Number.isInteger(block.endMs)) found.push(`block ${i} ends at ${block.endMs}`)
    if (block.endMs - block.startMs < MIN_BLOCK_MS) found.push(`block ${i} lasts ${block.endMs - block.startMs} ms`)
    if (next && next.startMs < block.endMs) found.push(`block ${i} reaches into the next`)
    if (blocks.findIndex(({ id }) => id === block.id) !== i) found.push(`block ${i} has the id of another`)
    return found
  })
}

/** Ends the open block; one that has no length yet gets the minimum, so that no take is ever lost. */
export function closeLive(blocks: readonly Block[], nowMs: number): Block[] {
  const live = liveBlock(blocks)
  if (!live) return [...blocks]
  return [...blocks.slice(0, -1), { ...live, endMs: blockEnd(live, nowMs) }]
}

export function newBlock(take: Take, startMs: number, endMs: number | null, color: number): Block {
  const { prompts, transition, cut } = take
  return { id: newId(), startMs, endMs, prompts: [...prompts], transition, cut, color }
}

/** Starts a block for a take; a repetition of what is live changes nothing unless it is a hard cut. */
export function openBlock(blocks: readonly Block[], nowMs: number, take: Take): Block[] {
  const live = liveBlock(blocks)
  if (live && take.cut === 'soft' && samePrompts(live.prompts, take.prompts)) return [...blocks]
  const closed = closeLive(blocks, nowMs)
  const previous = closed.at(-1)
  const startMs = Math.max(Math.round(nowMs), previous?.endMs ?? 0)
  return [...closed, newBlock(take, startMs, null, nextColor(previous))]
}

/** Changes the prompts of a block in place, for weights moved live. */
export function amendBlock(blocks: readonly Block[], id: string, prompts: readonly WirePrompt[]): Block[] {
  return blocks.map((block) => (block.id === id ? { ...block, prompts: [...prompts] } : block))
}

/**
 * A take in the middle: splits the block under the playhead there and replaces it up to the next edge; in a gap it fills the
 * rest of it. `fresh` is the block of the take before, which keeps its minimum. Null where a locked block is in the way.
 * The new block can start up to `MIN_BLOCK_MS` later than asked, where no shorter one fits before it.
 */
export function overdub(
  blocks: readonly Block[],
  atMs: number,
  take: Take,
  fresh: string | null = null,
): { blocks: Block[]; id: string } | null {
  const at = Math.round(atMs)
  const index = blocks.findLastIndex(({ startMs }) => startMs <= at)
  const held = blocks[index]
  const next = blocks[index + 1]
  const insert = (startMs: number, endMs: number | null, kept: readonly Block[], rest: readonly Block[]) => {
    const made = newBlock(take, startMs, endMs, nextColor(kept.at(-1)))
    return { blocks: [...kept, made, ...rest], id: made.id }
  }
  const heldEnd = held ? held.endMs : 0
  if (heldEnd === null) {
    const opened = openBlock(blocks, at, take)
    return { blocks: opened, id: opened.at(-1)?.id ?? '' }
  }
  if (!held || at >= heldEnd) {
    const startMs = Math.max(at, heldEnd)
    if (next && next.startMs - startMs < MIN_BLOCK_MS) return overdub(blocks, next.startMs, take, fresh)
    return insert(startMs, next?.startMs ?? null, blocks.slice(0, index + 1), blocks.slice(index + 1))
  }
  if (take.cut === 'soft' && samePrompts(held.prompts, take.prompts)) return { blocks: [...blocks], id: held.id }
  if (held.locked) return null
  const asked = held.id === fresh ? Math.max(at, held.startMs + MIN_BLOCK_MS) : at
  const cut = asked - held.startMs < MIN_BLOCK_MS ? held.startMs : asked
  if (heldEnd - cut < MIN_BLOCK_MS) return overdub(blocks, heldEnd, take, fresh)
  const kept = cut > held.startMs ? [...blocks.slice(0, index), { ...held, endMs: cut }] : blocks.slice(0, index)
  return insert(cut, heldEnd, kept, blocks.slice(index + 1))
}
