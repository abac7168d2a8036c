/** Integer shares of 100 for weighted prompts. Every function returns weights that sum to exactly 100. */

export interface Weighted {
  weight: number
  locked: boolean
}

/** Scales `values` to integers that sum to `total`, giving the units lost by flooring to the largest remainders. */
export function largestRemainder(values: readonly number[], total = 100): number[] {
  if (values.length === 0) return []
  const positive = values.map((value) => (Number.isFinite(value) && value > 0 ? value : 0))
  const sum = positive.reduce((a, b) => a + b, 0)
  const exact = positive.map((value) => (sum > 0 ? (value / sum) * total : total / positive.length))
  const shares = exact.map(Math.floor)
  const missing = total - shares.reduce((a, b) => a + b, 0)
  const order = exact
    .map((value, index) => ({ index, rest: value - Math.floor(value) }))
    .sort((a, b) => b.rest - a.rest || a.index - b.index)
  for (const { index } of order.slice(0, missing)) shares[index] = (shares[index] ?? 0) + 1
  return shares
}

function withWeights<T extends Weighted>(items: readonly T[], weights: readonly number[]): T[] {
  return items.map((item, index) => ({ ...item, weight: weights[index] ?? item.weight }))
}

/** Gives `index` the share `value`; unlocked others keep their ratio, locked ones keep their share. */
export function setWeight<T extends Weighted>(items: readonly T[], index: number, value: number): T[] {
  const movable = items.map((item, i) => i !== index && !item.locked)
  const frozen = items.reduce((sum, item, i) => (i !== index && item.locked ? sum + item.weight : sum), 0)
  const room = Math.max(0, 100 - frozen)
  const own = movable.some(Boolean) ? Math.round(Math.min(room, Math.max(0, value))) : room
  const others = largestRemainder(
    items.filter((_, i) => movable[i]).map((item) => item.weight),
    room - own,
  )
  const weights = items.map((item, i) => {
    if (i === index) return own
    return movable[i] ? (others.shift() ?? 0) : item.weight
  })
  return withWeights(items, weights)
}

/** Adds an entry with an even share, taken from the unlocked others. */
export function addWeighted<T extends Weighted>(items: readonly T[], added: T): T[] {
  const next = [...items, { ...added, weight: 0 }]
  return setWeight(next, next.length - 1, Math.round(100 / next.length))
}

/** Removes an entry and gives its share to the unlocked rest (to everyone when all are locked). */
export function removeWeighted<T extends Weighted>(items: readonly T[], index: number): T[] {
  const rest = items.filter((_, i) => i !== index)
  if (rest.every((item) => item.locked)) {
    return withWeights(rest, largestRemainder(rest.map((item) => item.weight)))
  }
  const frozen = rest.reduce((sum, item) => (item.locked ? sum + item.weight : sum), 0)
  const shares = largestRemainder(
    rest.filter((item) => !item.locked).map((item) => item.weight),
    100 - frozen,
  )
  return withWeights(
    rest,
    rest.map((item) => (item.locked ? item.weight : (shares.shift() ?? 0))),
  )
}
