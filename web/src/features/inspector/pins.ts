import { createStore } from 'zustand/vanilla'
import { z } from '../../api/zod'

/** Which parameters stand on top, by pipeline: a matter of the person, not of the project. */

const KEY = 'scope.pins'
const MAX_PINS = 24
const pinsSchema = z.record(z.string(), z.array(z.string()).check(z.maxLength(MAX_PINS)))
type Pins = z.infer<typeof pinsSchema>

function stored(): Pins {
  try {
    return pinsSchema.parse(JSON.parse(localStorage.getItem(KEY) ?? '{}'))
  } catch {
    return {}
  }
}

export const pinStore = createStore<Pins>(() => stored())

export function togglePin(pipelineId: string, key: string): void {
  const before = pinStore.getState()[pipelineId] ?? []
  const next = before.includes(key) ? before.filter((other) => other !== key) : [...before, key].slice(-MAX_PINS)
  pinStore.setState({ [pipelineId]: next })
  try {
    localStorage.setItem(KEY, JSON.stringify(pinStore.getState()))
  } catch {
    // Pins that cannot be kept hold until the page closes.
  }
}
