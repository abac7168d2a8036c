import { beforeEach, expect, it, vi } from 'vitest'
import { Steering, type SteeringInput } from './steering'

let sent: SteeringInput[]
let steering: Steering

beforeEach(() => {
  vi.useFakeTimers()
  sent = []
  steering = new Steering((input) => sent.push(input))
})

it('says at once what is held down, and once only', () => {
  steering.press('KeyW', true)
  steering.press('KeyW', true)
  steering.mouseButton(2, true)
  steering.press('KeyW', false)
  expect(sent.map(({ button }) => button)).toEqual([['KeyW'], ['KeyW', 'MouseRight'], ['MouseRight']])
})

it('adds movements up, so that none is lost and few messages leave', () => {
  for (let i = 0; i < 50; i++) {
    steering.move(1, -2)
    vi.advanceTimersByTime(2)
  }
  vi.advanceTimersByTime(100)
  expect(sent.reduce((sum, { mouse }) => sum + mouse[0], 0)).toBe(50)
  expect(sent.reduce((sum, { mouse }) => sum + mouse[1], 0)).toBe(-100)
  expect(sent.length).toBeLessThanOrEqual(4)
})

it('leaves nothing pressed behind', () => {
  steering.press('KeyA', true)
  steering.move(5, 5)
  steering.release()
  vi.advanceTimersByTime(100)
  expect(sent.at(-1)).toEqual({ button: [], mouse: [0, 0] })
  expect(sent).toHaveLength(2)
})
