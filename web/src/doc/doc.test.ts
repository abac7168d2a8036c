import { describe, expect, it } from 'vitest'
import { docSchema, draftPrompt, newDoc } from './model'
import {
  addPrompt,
  promptLabel,
  promptsFromLabel,
  putOnAir,
  removePrompt,
  revertDraft,
  setText,
  storeInDeck,
  wirePrompts,
} from './prompts'
import { amendBlock, closeLive, endOf, MIN_BLOCK_MS, openBlock, type Take } from './timeline'

const take = (text: string, cut: Take['cut'] = 'soft'): Take => ({
  prompts: [{ text, weight: 100 }],
  transition: null,
  cut,
})

describe('timeline', () => {
  it('closes the live block where the next take starts', () => {
    let blocks = openBlock([], 0, take('a'))
    blocks = openBlock(blocks, 3000, take('b'))
    blocks = openBlock(blocks, 6000, take('c'))
    expect(blocks.map((block) => [block.startMs, block.endMs])).toEqual([
      [0, 3000],
      [3000, 6000],
      [6000, null],
    ])
    expect(endOf(blocks, 7000)).toBe(7000)
  })
  it('loses no take and makes no zero-length block when takes come in the same instant', () => {
    let blocks = openBlock([], 0, take('a'))
    blocks = openBlock(blocks, 0, take('b'))
    blocks = openBlock(blocks, 1, take('c'))
    expect(blocks.map((block) => block.prompts[0]?.text)).toEqual(['a', 'b', 'c'])
    for (const block of closeLive(blocks, 1)) {
      expect((block.endMs ?? 0) - block.startMs).toBeGreaterThanOrEqual(MIN_BLOCK_MS)
    }
  })
  it('ignores a repeated soft take but records a hard cut', () => {
    const blocks = openBlock([], 0, take('a'))
    expect(openBlock(blocks, 500, take('a'))).toHaveLength(1)
    expect(openBlock(blocks, 500, take('a', 'hard'))).toHaveLength(2)
  })
  it('assigns colours in order', () => {
    let blocks = openBlock([], 0, take('0'))
    for (let i = 1; i < 9; i++) blocks = openBlock(blocks, i * 1000, take(String(i)))
    expect(blocks.map((block) => block.color)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 1])
  })
  it('amends only the block that is named', () => {
    const blocks = openBlock(openBlock([], 0, take('a')), 1000, take('b'))
    const amended = amendBlock(blocks, blocks[1]?.id ?? '', [{ text: 'b', weight: 40 }])
    expect(amended[0]).toEqual(blocks[0])
    expect(amended[1]?.prompts[0]?.weight).toBe(40)
  })
})

describe('prompts', () => {
  it('sends trimmed, non-empty texts whose weights sum to 100', () => {
    const draft = [draftPrompt(' a ', 34), draftPrompt('  ', 33), draftPrompt('b', 33)]
    expect(wirePrompts(draft)).toEqual([
      { text: 'a', weight: 51 },
      { text: 'b', weight: 49 },
    ])
  })
  it('reads a blend back from the line that it is written as', () => {
    const blend = [
      { text: 'a dog', weight: 60 },
      { text: 'a cow 2', weight: 40 },
    ]
    expect(promptsFromLabel(promptLabel(blend))).toEqual(blend)
    expect(promptsFromLabel('a dog 30 +  + a cow')).toEqual([
      { text: 'a dog', weight: 50 },
      { text: 'a cow', weight: 50 },
    ])
    expect(promptsFromLabel(' ')).toEqual([])
  })
  it('keeps one to four prompts', () => {
    let doc = newDoc()
    expect(removePrompt(0)(doc).draft).toHaveLength(1)
    for (let i = 0; i < 6; i++) doc = addPrompt(doc)
    expect(doc.draft).toHaveLength(4)
    expect(doc.draft.reduce((sum, prompt) => sum + prompt.weight, 0)).toBe(100)
  })
  it('reverts a draft to what is on air', () => {
    const doc = putOnAir([{ text: 'x', weight: 100 }])(newDoc())
    expect(revertDraft(setText(0, 'typo')(doc)).draft[0]?.text).toBe('x')
  })
  it('remembers texts once, newest first', () => {
    let doc = newDoc()
    for (const text of ['a', 'b', 'a']) doc = putOnAir([{ text, weight: 100 }])(doc)
    expect(doc.history).toEqual(['a', 'b'])
  })
  it('survives a round trip through storage', () => {
    const doc = storeInDeck(2, [{ text: 'x', weight: 100 }])(newDoc())
    expect(docSchema.parse(JSON.parse(JSON.stringify(doc)))).toEqual(doc)
  })
})
