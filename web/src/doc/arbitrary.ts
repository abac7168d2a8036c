import * as fc from 'fast-check'
import type { Block } from './model'
import { MIN_BLOCK_MS } from './timeline'

/** Random documents for property tests. */

export const blocksArbitrary = ({ open = true, locks = true } = {}): fc.Arbitrary<Block[]> =>
  fc
    .record({
      parts: fc.array(
        fc.record({
          // Mostly adjacent, as takes are.
          gap: fc.oneof(
            { weight: 3, arbitrary: fc.constant(0) },
            { weight: 1, arbitrary: fc.integer({ min: 1, max: 3000 }) },
          ),
          length: fc.integer({ min: MIN_BLOCK_MS, max: 4000 }),
          locked: fc.integer({ min: 0, max: 5 }),
          cut: fc.constantFrom('soft' as const, 'hard' as const),
        }),
        { maxLength: 9 },
      ),
      open: fc.boolean(),
    })
    .map(({ parts, open: last }) => {
      let time = 0
      return parts.map(({ gap, length, locked, cut }, i): Block => {
        const startMs = time + gap
        time = startMs + length
        const live = open && last && i === parts.length - 1
        const lock = locks && locked === 0 && !live ? { locked: true } : {}
        return {
          id: `b${i}`,
          startMs,
          endMs: live ? null : time,
          prompts: [{ text: `text ${i}`, weight: 100 }],
          transition: null,
          cut,
          color: (i % 8) + 1,
          ...lock,
        }
      })
    })
