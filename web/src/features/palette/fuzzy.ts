/** Finds what somebody means by a few letters. Pure. */

export interface Match {
  score: number
  /** Which characters of the text matched, for emphasis. */
  at: readonly number[]
}

const HIT = 1
const NEXT = 6
const WORD = 8
const START = 4

const startsWord = (text: string, i: number) => i === 0 || /[\s\-_/×:.(]/.test(text[i - 1] ?? '')

/** The best way to find the letters of one word in a text, in their order; null when there is none. */
function word(letters: string, text: string): Match | null {
  let best: Match | null = null
  const walk = (letter: number, from: number, score: number, at: readonly number[]) => {
    if (letter === letters.length) {
      if (!best || score > best.score) best = { score, at }
      return
    }
    let tried = 0
    for (
      let i = text.indexOf(letters[letter] ?? '', from);
      i >= 0 && tried < 4;
      i = text.indexOf(letters[letter] ?? '', i + 1)
    ) {
      const adjacent = at.length > 0 && i === from
      // Letters in the middle of words count only next to one that was found: "ba" is not in "Label of".
      if (letter > 0 && !adjacent && !startsWord(text, i)) continue
      tried += 1
      walk(letter + 1, i + 1, score + HIT + (adjacent ? NEXT : 0) + (startsWord(text, i) ? WORD : 0), [...at, i])
    }
  }
  walk(0, 0, 0, [])
  return best
}

/** How well a text answers a query; every word of the query must be in it. Null when it does not. */
export function fuzzy(query: string, text: string): Match | null {
  const lower = text.toLowerCase()
  const at = new Set<number>()
  let score = 0
  for (const letters of query.toLowerCase().split(/\s+/).filter(Boolean)) {
    const match = word(letters, lower)
    if (!match) return null
    for (const i of match.at) at.add(i)
    score += match.score + (match.at[0] === 0 ? START : 0)
  }
  // Of two equal matches the shorter text is meant.
  return { score: score - text.length / 100, at: [...at].sort((a, b) => a - b) }
}
