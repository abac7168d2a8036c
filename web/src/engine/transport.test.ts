import { beforeEach, expect, it } from 'vitest'
import type { Block } from '../doc/model'
import type { Take } from '../doc/timeline'
import { Transport } from './transport'

let now: number
let blocks: readonly Block[]
let transport: Transport

const take = (text: string): Take => ({ prompts: [{ text, weight: 100 }], transition: null, cut: 'soft' })
const texts = () => blocks.map((block) => block.prompts[0]?.text)

beforeEach(() => {
  now = 1000
  blocks = []
  transport = new Transport(
    {
      get: () => blocks,
      set: (next) => {
        blocks = next
      },
    },
    () => now,
  )
})

it('starts to roll with the first frame, not with Start', () => {
  transport.arm()
  now += 9000
  expect(transport.time()).toBe(0)
  transport.firstFrame(take('a'))
  now += 500
  expect(transport.time()).toBe(500)
  expect(texts()).toEqual(['a'])
})

it('keeps both prompts in typed order when a take follows the first frame at once', () => {
  transport.arm()
  transport.firstFrame(take('first'))
  now += 60
  transport.take(take('second'))
  expect(texts()).toEqual(['first', 'second'])
})

it('does not run while paused or while no frame arrives', () => {
  transport.arm()
  transport.firstFrame(take('a'))
  now += 1000
  transport.pause()
  now += 5000
  expect(transport.time()).toBe(1000)
  transport.resume()
  now += 1000
  transport.freeze()
  now += 7000
  expect(transport.time()).toBe(2000)
  expect(transport.stalled).toBe(true)
  transport.thaw()
  now += 250
  expect(transport.time()).toBe(2250)
})

it('stays frozen when resumed during a stall', () => {
  transport.arm()
  transport.firstFrame(take('a'))
  now += 100
  transport.pause()
  transport.freeze()
  transport.resume()
  now += 4000
  expect(transport.time()).toBe(100)
})

it('goes to zero on Stop, keeps the blocks and appends after the next Start', () => {
  transport.arm()
  transport.firstFrame(take('a'))
  now += 2000
  transport.stop()
  expect(transport.time()).toBe(0)
  expect(blocks[0]?.endMs).toBe(2000)
  transport.arm()
  expect(transport.time()).toBe(2000)
  transport.firstFrame(take('b'))
  expect(blocks[1]?.startMs).toBe(2000)
})

it('takes nothing while stopped', () => {
  transport.take(take('a'))
  expect(blocks).toEqual([])
})
