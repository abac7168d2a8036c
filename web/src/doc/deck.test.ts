import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DECK_BANKS, DECK_SLOTS, docSchema, newDoc, type ProjectDoc } from './model'
import { bankFilled, findHistory, firstFreeSlot, storeInDeck, switchBank, tokenEstimate } from './prompts'

const prompts = (text: string) => [{ text, weight: 100 }]

describe('banks of the deck', () => {
  it('keep what each slot of each bank was given, whichever way one goes through them', () => {
    const step = fc.oneof(
      fc.record({ go: fc.integer({ min: -1, max: DECK_BANKS }) }),
      fc.record({ slot: fc.integer({ min: 0, max: DECK_SLOTS - 1 }), text: fc.string({ minLength: 1 }) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const wanted = new Map<string, string>()
        let doc: ProjectDoc = newDoc()
        for (const it of steps) {
          if ('go' in it) doc = switchBank(it.go)(doc)
          else {
            doc = storeInDeck(it.slot, prompts(it.text))(doc)
            wanted.set(`${doc.bank} ${it.slot}`, it.text)
          }
          expect(docSchema.safeParse(doc).success).toBe(true)
        }
        for (let bank = 0; bank < DECK_BANKS; bank++) {
          const there = switchBank(bank)(doc)
          const texts = there.deck.map((slot) => slot?.[0]?.text)
          expect(texts).toEqual(there.deck.map((_, slot) => wanted.get(`${bank} ${slot}`)))
          expect(bankFilled(doc, bank)).toBe(texts.some((text) => text !== undefined))
        }
      }),
    )
  })
  it('come to a document from before there were any', () => {
    const { bank: _, banks: __, ...old } = storeInDeck(2, prompts('a dog'))(newDoc())
    const read = docSchema.parse(old)
    expect(read.bank).toBe(0)
    expect(switchBank(0)(switchBank(3)(read)).deck[2]).toEqual(prompts('a dog'))
    expect(firstFreeSlot(switchBank(3)(read))).toBe(0)
  })
})

describe('earlier prompts', () => {
  it('are found by any of their words, in any order, newest first', () => {
    const history = ['a Dog in snow', 'snow on a roof', 'a cat']
    expect(findHistory(history, 'snow  a')).toEqual(['a Dog in snow', 'snow on a roof'])
    expect(findHistory(history, 'SNOW dog')).toEqual(['a Dog in snow'])
    expect(findHistory(history, '')).toEqual(history)
  })
})

describe('the estimate of tokens', () => {
  it('grows with the text and is zero for none', () => {
    expect(tokenEstimate('  ')).toBe(0)
    expect(tokenEstimate('a dog walking in grass')).toBe(6)
    expect(tokenEstimate('дождь, 夜')).toBeGreaterThanOrEqual(3)
    expect(tokenEstimate('extraordinarily')).toBe(3)
  })
})
