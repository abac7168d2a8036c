import {
  DECK_BANKS,
  type DraftPrompt,
  draftPrompt,
  emptyBank,
  HISTORY_LIMIT,
  MAX_PROMPTS,
  type ProjectDoc,
  type WirePrompt,
} from './model'
import { addWeighted, largestRemainder, removeWeighted, setWeight } from './weights'

/** Pure changes of the prompt part of the document. */

/** What goes over the wire for a draft: trimmed texts, empty ones left out, shares that sum to 100. */
export function wirePrompts(draft: readonly DraftPrompt[]): WirePrompt[] {
  const filled = draft.map(({ text, weight }) => ({ text: text.trim(), weight })).filter(({ text }) => text !== '')
  const shares = largestRemainder(filled.map(({ weight }) => weight))
  return filled.map(({ text }, index) => ({ text, weight: shares[index] ?? 0 }))
}

export function samePrompts(a: readonly WirePrompt[], b: readonly WirePrompt[]): boolean {
  return a.length === b.length && a.every((prompt, i) => prompt.text === b[i]?.text && prompt.weight === b[i]?.weight)
}

export function sameTexts(a: readonly WirePrompt[], b: readonly WirePrompt[]): boolean {
  return a.length === b.length && a.every((prompt, i) => prompt.text === b[i]?.text)
}

/** One line for lists: "a dog" or "a dog 60 + a cow 40". */
export function promptLabel(prompts: readonly WirePrompt[]): string {
  const [only] = prompts
  if (prompts.length === 1 && only) return only.text
  return prompts.map(({ text, weight }) => `${text} ${weight}`).join(' + ')
}

/** The other way round, for a blend whose line was edited; a part without a number counts like the largest. */
export function promptsFromLabel(label: string): WirePrompt[] {
  const parts = label
    .split(/\s\+\s/)
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .slice(0, MAX_PROMPTS)
    .map((part) => {
      const [, text, weight] = /^(.*\S)\s+(\d{1,3})$/.exec(part) ?? [null, part, null]
      return { text: text ?? part, weight: weight === null || weight === undefined ? null : Number(weight) }
    })
  const largest = Math.max(0, ...parts.map(({ weight }) => weight ?? 0)) || 100
  const shares = largestRemainder(parts.map(({ weight }) => weight ?? largest))
  return parts.map(({ text }, i) => ({ text, weight: shares[i] ?? 0 }))
}

export function draftFrom(prompts: readonly WirePrompt[]): DraftPrompt[] {
  const drafts = prompts.slice(0, MAX_PROMPTS).map(({ text, weight }) => draftPrompt(text, weight))
  return drafts.length > 0 ? drafts : [draftPrompt('')]
}

type Change = (doc: ProjectDoc) => ProjectDoc

export const setText =
  (index: number, text: string): Change =>
  (doc) => ({ ...doc, draft: doc.draft.map((prompt, i) => (i === index ? { ...prompt, text } : prompt)) })

export const changeWeight =
  (index: number, weight: number): Change =>
  (doc) => ({ ...doc, draft: setWeight(doc.draft, index, weight) })

export const toggleLock =
  (index: number): Change =>
  (doc) => ({
    ...doc,
    draft: doc.draft.map((prompt, i) => (i === index ? { ...prompt, locked: !prompt.locked } : prompt)),
  })

export const addPrompt: Change = (doc) =>
  doc.draft.length >= MAX_PROMPTS ? doc : { ...doc, draft: addWeighted(doc.draft, draftPrompt('')) }

export const removePrompt =
  (index: number): Change =>
  (doc) =>
    doc.draft.length <= 1 ? doc : { ...doc, draft: removeWeighted(doc.draft, index) }

export const setDraft =
  (prompts: readonly WirePrompt[]): Change =>
  (doc) => ({ ...doc, draft: draftFrom(prompts) })

export const revertDraft: Change = (doc) => ({ ...doc, draft: draftFrom(doc.onAir) })

/** Puts prompts on air and remembers their texts, newest first. */
export const putOnAir =
  (prompts: readonly WirePrompt[]): Change =>
  (doc) => {
    if (prompts.length === 0) return doc
    const texts = prompts.map(({ text }) => text)
    const history = [...texts, ...doc.history.filter((text) => !texts.includes(text))].slice(0, HISTORY_LIMIT)
    return { ...doc, onAir: [...prompts], history }
  }

/** What has come on air by itself; a draft that says what was on air before follows. */
export const followAir =
  (prompts: readonly WirePrompt[]): Change =>
  (doc) => ({
    ...doc,
    onAir: [...prompts],
    draft: samePrompts(wirePrompts(doc.draft), doc.onAir) ? draftFrom(prompts) : doc.draft,
  })

export const storeInDeck =
  (slot: number, prompts: readonly WirePrompt[] | null): Change =>
  (doc) => ({ ...doc, deck: doc.deck.map((old, i) => (i === slot ? (prompts ? [...prompts] : null) : old)) })

/** Goes to another bank of the deck; the slots of this one are kept. */
export const switchBank =
  (bank: number): Change =>
  (doc) => {
    if (bank === doc.bank || bank < 0 || bank >= DECK_BANKS) return doc
    const banks = Array.from({ length: DECK_BANKS }, (_, i) =>
      i === doc.bank ? doc.deck : (doc.banks[i] ?? emptyBank()),
    )
    return { ...doc, bank, banks, deck: banks[bank] ?? emptyBank() }
  }

/** Whether a bank has anything in it. */
export function bankFilled(doc: Pick<ProjectDoc, 'bank' | 'banks' | 'deck'>, bank: number): boolean {
  return (bank === doc.bank ? doc.deck : (doc.banks[bank] ?? [])).some((slot) => slot !== null)
}

/** Earlier prompts with all words of a query, newest first. */
export function findHistory(history: readonly string[], query: string): string[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean)
  return history.filter((text) => words.every((word) => text.toLowerCase().includes(word)))
}

/** Text encoders count pieces of words. English has about four letters to a piece, and no word has none. */
export function tokenEstimate(text: string): number {
  const words = text.match(/[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu) ?? []
  return words.reduce((all, word) => all + Math.max(1, Math.ceil(word.length / 5)), 0)
}

export function firstFreeSlot(doc: ProjectDoc): number | null {
  const slot = doc.deck.indexOf(null)
  return slot >= 0 ? slot : null
}
