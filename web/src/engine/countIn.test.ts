import { expect, it, vi } from 'vitest'
import { CountIn } from './countIn'

function counted(length: number | null) {
  let timer: (() => void) | null = null
  const countIn = new CountIn({
    now: () => 1000,
    after: (_, run) => {
      timer = run
      return () => {
        timer = null
      }
    },
    length: () => length,
  })
  return { countIn, ring: () => timer?.() }
}

it('starts at once when there is nothing to count', () => {
  const { countIn } = counted(null)
  const start = vi.fn()
  countIn.begin(start)
  expect(start).toHaveBeenCalledOnce()
  expect(countIn.counting).toBe(false)
})

it('starts once when it has counted, however often it is asked', () => {
  const { countIn, ring } = counted(2000)
  const start = vi.fn()
  countIn.begin(start)
  countIn.begin(start)
  expect(countIn.store.getState().dueAt).toBe(3000)
  expect(start).not.toHaveBeenCalled()
  ring()
  expect(start).toHaveBeenCalledOnce()
  expect(countIn.counting).toBe(false)
})

it('starts nothing when it is cancelled, and can count again', () => {
  const { countIn, ring } = counted(2000)
  const start = vi.fn()
  countIn.begin(start)
  countIn.cancel()
  ring()
  expect(start).not.toHaveBeenCalled()
  countIn.begin(start)
  ring()
  expect(start).toHaveBeenCalledOnce()
})
