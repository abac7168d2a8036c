import { expect, it } from 'vitest'
import type { Take } from '../doc/timeline'
import { Quantiser } from './quantiser'

const take = (text: string): Take => ({ prompts: [{ text, weight: 100 }], transition: null, cut: 'soft' })
const [a, b] = [take('a'), take('b')]

it('waits from the moment it is told, and knows its time when the server has answered', () => {
  const quantiser = new Quantiser()
  quantiser.tell(a, 'bar')
  expect(quantiser.waiting).toEqual({ take: a, grid: 'bar', dueAt: null })
  quantiser.scheduled(1500, 100)
  expect(quantiser.waiting).toEqual({ take: a, grid: 'bar', dueAt: 1600 })
  expect(quantiser.applied(1700)).toBe(a)
  expect(quantiser.waiting).toBeNull()
  expect(quantiser.applied(1800)).toBeNull()
})

it('is on air at once where the server saw nothing to wait for', () => {
  const quantiser = new Quantiser()
  quantiser.tell(a, 'bar')
  expect(quantiser.applied(10)).toBe(a)
  expect(quantiser.waiting).toBeNull()
})

it('shows the newest of several, and puts only that on air', () => {
  const quantiser = new Quantiser()
  quantiser.tell(a, 'bar')
  quantiser.scheduled(1000, 0)
  quantiser.tell(b, 'bar')
  expect(quantiser.waiting?.take).toBe(b)
  quantiser.scheduled(700, 300)
  expect(quantiser.applied(1005)).toBe(b)
  expect(quantiser.applied(1006)).toBeNull()
})

it('puts a take on air that was applied while its replacement was on the way', () => {
  const quantiser = new Quantiser()
  quantiser.tell(a, 'beat')
  quantiser.scheduled(500, 0)
  quantiser.tell(b, 'beat')
  expect(quantiser.applied(510)).toBe(a)
  expect(quantiser.waiting?.take).toBe(b)
  quantiser.scheduled(490, 520)
  expect(quantiser.applied(1012)).toBe(b)
})

it('tells the report of the one before from its own by the time', () => {
  const quantiser = new Quantiser()
  quantiser.tell(a, 'beat')
  quantiser.scheduled(500, 0)
  quantiser.tell(b, 'beat')
  quantiser.scheduled(490, 510)
  expect(quantiser.applied(512)).toBe(a)
  expect(quantiser.waiting?.take).toBe(b)
  expect(quantiser.applied(1001)).toBe(b)
})

it('forgets a cancelled take, unless the server had applied it already', () => {
  const quantiser = new Quantiser()
  quantiser.tell(a, 'bar')
  quantiser.cancel()
  expect(quantiser.waiting).toBeNull()
  quantiser.scheduled(400, 0)
  expect(quantiser.waiting).toBeNull()

  quantiser.tell(b, 'bar')
  quantiser.scheduled(400, 0)
  quantiser.cancel()
  expect(quantiser.applied(401)).toBe(b)
  expect(quantiser.applied(402)).toBeNull()

  quantiser.tell(a, 'bar')
  quantiser.scheduled(400, 0)
  quantiser.clear()
  expect(quantiser.applied(401)).toBeNull()
})
