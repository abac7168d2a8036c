import { createStore } from 'zustand/vanilla'
import { docStore } from '../../doc/store'

/** The box that an earlier prompt is chosen for; null while the list is closed. */
export const historyUi = createStore<{ box: number | null }>(() => ({ box: null }))

/** Opens the list of earlier prompts for a box; false when there are none. */
export function openHistory(box: number): boolean {
  if (docStore.getState().history.length === 0) return false
  historyUi.setState({ box })
  return true
}
