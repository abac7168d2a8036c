import type { Block } from './model'
import { samePrompts } from './prompts'
import { blockEnd, endOf, liveBlock, MIN_BLOCK_MS } from './timeline'

/**
 * Undo and redo while playing goes on. The rule: what was taken live since a step is kept, whichever way one goes through
 * the history; it follows the end of the timeline that comes back, and the clock moves along with it.
 */

interface Way {
  /** The blocks on this side of the step, on the other side, and as they are now. */
  from: readonly Block[]
  to: readonly Block[]
  current: readonly Block[]
  /** By how much going this way moves the live end; null for a step done while nothing was live. */
  shiftMs: number | null
  /** The clock when the step was done, where a block that was open then had got to. */
  nowMs: number
}

export function rebase({ from, to, current, shiftMs, nowMs }: Way): { blocks: Block[]; shiftMs: number } {
  const source = new Map(from.map((block) => [block.id, block]))
  const present = new Map(current.map((block) => [block.id, block]))
  const openThere = liveBlock(from)
  const played = openThere ? present.get(openThere.id) : undefined
  const shift = shiftMs ?? endOf(to, nowMs) - endOf(from, nowMs)

  const back = to.map((block): Block => {
    const [old, now] = [source.get(block.id), present.get(block.id)]
    // Weights that were moved live belong to what was played.
    const amended = old && now && samePrompts(block.prompts, old.prompts) && !samePrompts(now.prompts, old.prompts)
    const kept = amended ? { ...block, prompts: now.prompts } : block
    if (block.endMs !== null) return kept
    // It goes on where the block that was open on this side has got to.
    if (!played) return { ...kept, endMs: blockEnd(block, nowMs) }
    if (played.endMs === null) return kept
    return { ...kept, endMs: Math.max(played.endMs + shift, block.startMs + MIN_BLOCK_MS) }
  })

  const returned = new Set(to.map(({ id }) => id))
  const since = current.filter(({ id }) => !source.has(id) && !returned.has(id))
  const [first] = since
  if (!first) return { blocks: back, shiftMs: shift }
  const last = back.at(-1)
  if (last && last.endMs === null) {
    back[back.length - 1] = { ...last, endMs: Math.max(first.startMs + shift, last.startMs + MIN_BLOCK_MS) }
  }
  const total = Math.max(shift, endOf(back, 0) - first.startMs)
  const follow = since.map((block) => ({
    ...block,
    startMs: block.startMs + total,
    endMs: block.endMs === null ? null : block.endMs + total,
  }))
  return { blocks: [...back, ...follow], shiftMs: total }
}
