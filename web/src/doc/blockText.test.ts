import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { blocksArbitrary } from './arbitrary'
import { readBlocks, writeBlocks } from './blockText'
import * as edits from './edits'
import { faults } from './timeline'

const all = (blocks: readonly { id: string }[]) => new Set(blocks.map(({ id }) => id))

describe('copied blocks as text', () => {
  it('are read as they were written, and stand on another timeline', () => {
    fc.assert(
      fc.property(blocksArbitrary(), blocksArbitrary(), fc.nat(60_000), (from, into, at) => {
        const now = 100_000
        const copies = edits.copy(from, all(from), now)
        fc.pre(copies.length > 0)
        const read = readBlocks(writeBlocks(copies))
        expect(read).toEqual(copies)
        const pasted = edits.paste(into, read ?? [], at, now)
        expect(faults(pasted.blocks)).toEqual([])
        expect(pasted.made).toHaveLength(copies.length)
      }),
    )
  })

  it('are nothing but that: other text, other JSON, open or broken blocks are left alone', () => {
    const block = { id: 'a', startMs: 0, endMs: 500, prompts: [{ text: 'x', weight: 100 }], cut: 'soft', color: 1 }
    const good = { ...block, transition: null }
    const file = (blocks: unknown) => JSON.stringify({ format: 'scope-blocks', version: 1, blocks })
    expect(readBlocks(file([good]))).toHaveLength(1)
    for (const text of [
      '',
      'a dog',
      '{"format":"scope-blocks"',
      file([]),
      file([{ ...good, endMs: null }]),
      file([{ ...good, endMs: 20 }]),
      file([{ ...good, prompts: 'x' }]),
      file([good, good]),
      JSON.stringify({ format: 'scope-blocks', version: 2, blocks: [good] }),
    ]) {
      expect(readBlocks(text), text).toBeNull()
    }
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(readBlocks(text)).toBeNull()
      }),
    )
  })
})
