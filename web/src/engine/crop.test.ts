import { expect, it } from 'vitest'
import { cropRect } from './crop'
import { FrameRate } from './frameWatch'

it('covers a wider target by cutting top and bottom', () => {
  const { source, target } = cropRect({ width: 512, height: 512 }, { width: 512, height: 256 }, 'cover')
  expect(source).toEqual({ x: 0, y: 128, width: 512, height: 256 })
  expect(target).toEqual({ x: 0, y: 0, width: 512, height: 256 })
})

it('fits inside with bars and cuts nothing', () => {
  const { source, target } = cropRect({ width: 1280, height: 720 }, { width: 512, height: 512 }, 'contain')
  expect(source).toEqual({ x: 0, y: 0, width: 1280, height: 720 })
  expect(target).toEqual({ x: 0, y: 112, width: 512, height: 288 })
})

it('measures presented frames per second and falls to zero after the last one', () => {
  const rate = new FrameRate()
  for (let i = 0; i <= 30; i++) rate.add(i * 125, i)
  expect(rate.value(3750)).toBeCloseTo(8)
  expect(rate.value(3750 + 1300)).toBe(0)
})

it('starts anew when the counter does', () => {
  const rate = new FrameRate()
  rate.add(0, 500)
  rate.add(100, 1)
  rate.add(200, 2)
  expect(rate.value(200)).toBeCloseTo(10)
})
