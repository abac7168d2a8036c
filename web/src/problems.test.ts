import { beforeEach, expect, it } from 'vitest'
import { addProblem, dismissAllProblems, dismissProblem, problemStore, seeProblems } from './problems'

const list = () => problemStore.getState().list

beforeEach(dismissAllProblems)

it('says a problem once, however often it comes, with the time of the last', () => {
  addProblem('warning', 'Disk is slow', '', 1)
  addProblem('error', 'It stopped', 'cuda', 2)
  addProblem('warning', 'Disk is slow', '', 3)
  expect(list().map(({ title, count, at }) => [title, count, at])).toEqual([
    ['Disk is slow', 2, 3],
    ['It stopped', 1, 2],
  ])
})

it('keeps a problem until it is dismissed, and calls it new again when it comes back', () => {
  addProblem('error', 'It stopped', 'cuda', 1)
  seeProblems()
  expect(list()[0]?.seen).toBe(true)
  addProblem('error', 'It stopped', 'cuda', 2)
  expect(list()[0]?.seen).toBe(false)
  dismissProblem(list()[0]?.id ?? 0)
  expect(list()).toEqual([])
})

it('forgets the oldest when there are too many', () => {
  for (let i = 0; i < 80; i++) addProblem('warning', `problem ${i}`, '', i)
  expect(list()).toHaveLength(50)
  expect(list()[0]?.title).toBe('problem 79')
})
