import { deepEqual } from './equal'
import type { ProjectDoc } from './model'

/**
 * Undo and redo of parameters while other hands are on them. The rule: going from one side of a step to the other changes
 * what the step changed, and nothing that somebody else, a knob, another program, the server, has changed since.
 */

type AllParams = ProjectDoc['params']

interface Way {
  /** The parameters on this side of the step, on the other side, and as they are now. */
  from: AllParams
  to: AllParams
  current: AllParams
}

const NONE: Readonly<Record<string, unknown>> = {}
const has = (values: Readonly<Record<string, unknown>>, key: string) => Object.hasOwn(values, key)
const sameAt = (a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>, key: string) =>
  has(a, key) === has(b, key) && deepEqual(a[key], b[key])

export function rebaseParams({ from, to, current }: Way): AllParams {
  if (from === to) return current
  const next = { ...current }
  let changed = false
  for (const node of new Set([...Object.keys(from), ...Object.keys(to)])) {
    const [here, there, now] = [from[node] ?? NONE, to[node] ?? NONE, current[node] ?? NONE]
    const keys = [...new Set([...Object.keys(here), ...Object.keys(there)])].filter(
      (key) => !sameAt(here, there, key) && sameAt(now, here, key),
    )
    if (keys.length === 0) continue
    const values = { ...now }
    for (const key of keys) {
      if (has(there, key)) values[key] = there[key]
      else delete values[key]
    }
    changed = true
    if (Object.keys(values).length > 0 || to[node]) next[node] = values
    else delete next[node]
  }
  return changed ? next : current
}
