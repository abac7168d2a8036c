import { expect, it } from 'vitest'
import { bytes } from './format'

it('writes bytes in the units of disks, with as many digits as are read', () => {
  expect([0, 1499, 999_499, 999_500, 17_200_000, 999_949_999, 999_950_000, 14_331_000_000].map(bytes)).toEqual([
    '1 kB',
    '1 kB',
    '999 kB',
    '1.0 MB',
    '17.2 MB',
    '999.9 MB',
    '1.0 GB',
    '14.3 GB',
  ])
})
