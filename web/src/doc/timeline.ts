import type { Block, WirePrompt } from './model'
import { newId } from './model'
import { samePrompts } from './prompts'

/** Pure changes of the list of takes. Invariants: sorted, no overlap, none shorter than `MIN_BLOCK_MS`, only the last open. */

export const MIN_BLOCK_MS = 100
const COLORS = 8

export interface Take {
  prompts: readonly WirePrompt[]
  transition: Block['transition']
  cut: Block['cut']
}

export function endOf(blocks: readonly Block[], nowMs: number): number {
  const last = blocks.at(-1)
  return last ? (last.endMs ?? Math.max(nowMs, last.startMs + MIN_BLOCK_MS)) : 0
}

export function liveBlock(blocks: readonly Block[]): Block | null {
  const last = blocks.at(-1)
  return last?.endMs === null ? last : null
}

/** Ends the open block; one that has no length yet gets the minimum, so that no take is ever lost. */
export function closeLive(blocks: readonly Block[], nowMs: number): Block[] {
  const live = liveBlock(blocks)
  if (!live) return [...blocks]
  const endMs = Math.max(Math.round(nowMs), live.startMs + MIN_BLOCK_MS)
  return [...blocks.slice(0, -1), { ...live, endMs }]
}

/** Starts a block for a take; a repetition of what is live changes nothing unless it is a hard cut. */
export function openBlock(blocks: readonly Block[], nowMs: number, take: Take): Block[] {
  const live = liveBlock(blocks)
  if (live && take.cut === 'soft' && samePrompts(live.prompts, take.prompts)) return [...blocks]
  const closed = closeLive(blocks, nowMs)
  const previous = closed.at(-1)
  const startMs = Math.max(Math.round(nowMs), previous?.endMs ?? 0)
  return [
    ...closed,
    {
      id: newId(),
      startMs,
      endMs: null,
      prompts: [...take.prompts],
      transition: take.transition,
      cut: take.cut,
      color: previous ? (previous.color % COLORS) + 1 : 1,
    },
  ]
}

/** Changes the prompts of the open block in place, for weights moved live. */
export function amendLive(blocks: readonly Block[], prompts: readonly WirePrompt[]): Block[] {
  const live = liveBlock(blocks)
  return live ? [...blocks.slice(0, -1), { ...live, prompts: [...prompts] }] : [...blocks]
}
