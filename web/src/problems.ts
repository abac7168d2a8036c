import { createStore } from 'zustand/vanilla'

/** What went wrong, until somebody has dismissed it. */

export type Severity = 'warning' | 'error'

export interface Problem {
  id: number
  severity: Severity
  title: string
  /** What is known beside the title; empty when nothing is. */
  detail: string
  /** When it was last reported (`Date.now()`), and how often. */
  at: number
  count: number
  seen: boolean
}

const KEEP = 50

export const problemStore = createStore<{ list: readonly Problem[] }>(() => ({ list: [] }))

let counter = 0

/** Adds a problem, or counts it once more and puts it first when it is known already. */
export function addProblem(severity: Severity, title: string, detail = '', now = Date.now()): void {
  const { list } = problemStore.getState()
  const known = list.find((problem) => problem.title === title && problem.detail === detail)
  counter += 1
  const problem: Problem = known
    ? { ...known, severity, at: now, count: known.count + 1, seen: false }
    : { id: counter, severity, title, detail, at: now, count: 1, seen: false }
  problemStore.setState({ list: [problem, ...list.filter((other) => other !== known)].slice(0, KEEP) })
}

export function dismissProblem(id: number): void {
  problemStore.setState(({ list }) => ({ list: list.filter((problem) => problem.id !== id) }))
}

export function dismissAllProblems(): void {
  problemStore.setState({ list: [] })
}

export function seeProblems(): void {
  const { list } = problemStore.getState()
  if (list.some(({ seen }) => !seen))
    problemStore.setState({ list: list.map((problem) => ({ ...problem, seen: true })) })
}
