import { describe, expect, it } from 'vitest'
import { adaptersOf, asLoaded, fixedPart, LORA_MAX, MAX_LORAS, scalesOf } from './loras'

const merged = { path: 'a', scale: 1, merge_mode: 'permanent_merge' } as const
const live = { path: 'b', scale: 0.5, merge_mode: 'runtime_peft' } as const

describe('adapters of a document', () => {
  it('are read from any file: bounded, each once, with a way of merging', () => {
    const value = [
      { path: 'a', scale: 99 },
      { path: 'a', scale: 1 },
      { path: '', scale: 1 },
      { scale: 2 },
      'x',
      { path: 'b', merge_mode: 'permanent_merge' },
    ]
    expect(adaptersOf(value, 'runtime_peft')).toEqual([
      { path: 'a', scale: LORA_MAX, merge_mode: 'runtime_peft' },
      { path: 'b', scale: 1, merge_mode: 'permanent_merge' },
    ])
    expect(adaptersOf(null, null)).toEqual([])
    const many = Array.from({ length: 40 }, (_, i) => ({ path: `${i}`, scale: 1 }))
    expect(adaptersOf(many, null)).toHaveLength(MAX_LORAS)
  })
  it('change their strength without a load where they are not merged', () => {
    expect(scalesOf([merged, live])).toEqual([{ path: 'b', scale: 0.5 }])
    const stronger = { ...live, scale: 2 }
    expect(fixedPart({ loras: [merged, live] })).toEqual(fixedPart({ loras: [merged, stronger] }))
    expect(fixedPart({ loras: [merged] })).not.toEqual(fixedPart({ loras: [{ ...merged, scale: 2 }] }))
    expect(fixedPart({ loras: [live] })).not.toEqual(fixedPart({ loras: [{ ...live, merge_mode: 'permanent_merge' }] }))
  })
  it('mean nothing where there are none', () => {
    expect(fixedPart({ width: 64, loras: [], lora_merge_strategy: 'runtime_peft' })).toEqual({ width: 64 })
  })
  it('go back to what is loaded, but for strengths that are live', () => {
    const now = [
      { ...merged, scale: 3 },
      { ...live, scale: 2 },
      { ...live, path: 'new' },
    ]
    expect(asLoaded(now, [merged, live])).toEqual([merged, { ...live, scale: 2 }])
  })
})
