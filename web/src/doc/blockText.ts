import { z } from '../api/zod'
import { type Block, blockSchema } from './model'
import { faults } from './timeline'

/** Copied blocks as text, so that they can be pasted in another window or project. Pure. */

const FORMAT = 'scope-blocks'
const VERSION = 1
/** Most blocks that are pasted at once, and the longest text that is looked at. */
const MAX_BLOCKS = 10_000
const MAX_CHARS = 8 << 20

const schema = z.looseObject({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  blocks: z.array(blockSchema).check(z.minLength(1), z.maxLength(MAX_BLOCKS)),
})

export function writeBlocks(blocks: readonly Block[]): string {
  return JSON.stringify({ format: FORMAT, version: VERSION, blocks })
}

/** The blocks of a text, counted from the first; null when it is something else, or none that could stand on a timeline. */
export function readBlocks(text: string): Block[] | null {
  if (text.length > MAX_CHARS || !text.includes(`"${FORMAT}"`)) return null
  try {
    const parsed = schema.safeParse(JSON.parse(text))
    if (!parsed.success) return null
    const { blocks } = parsed.data
    const sound = faults(blocks).length === 0 && blocks.every(({ endMs }) => endMs !== null)
    return sound ? blocks : null
  } catch {
    return null
  }
}
