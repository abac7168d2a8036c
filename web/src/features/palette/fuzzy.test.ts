import { describe, expect, it } from 'vitest'
import { fuzzy } from './fuzzy'

const order = (query: string, texts: readonly string[]) =>
  texts
    .flatMap((text) => {
      const match = fuzzy(query, text)
      return match ? [{ text, score: match.score }] : []
    })
    .sort((a, b) => b.score - a.score)
    .map(({ text }) => text)

describe('fuzzy', () => {
  it('finds words by their beginnings, in any case', () => {
    expect(fuzzy('ow', 'Output window')).toEqual(expect.objectContaining({ at: [0, 7] }))
    expect(fuzzy('OUT', 'Output window')?.at).toEqual([0, 1, 2])
  })
  it('finds the words of a query in any order', () => {
    expect(fuzzy('window out', 'Output window')).not.toBeNull()
    expect(fuzzy('window in', 'Output window')?.at).toEqual([7, 8, 9, 10, 11, 12])
  })
  it('does not find letters that are only strewn over a text', () => {
    expect(fuzzy('owd', 'Reset the cache of the window')).toBeNull()
    expect(fuzzy('zz', 'Freeze the output')).toBeNull()
  })
  it('answers everything to an empty query', () => {
    expect(fuzzy('  ', 'Record')?.at).toEqual([])
  })
  it('puts the beginning of a text before the middle, and short before long', () => {
    expect(order('re', ['Take the prompt again, really', 'Record', 'Record a performance'])).toEqual([
      'Record',
      'Record a performance',
      'Take the prompt again, really',
    ])
  })
})
