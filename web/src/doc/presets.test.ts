import { describe, expect, it } from 'vitest'
import { pipelineSchema } from '../api/types'
import { planFields } from '../schema/plan'
import { newDoc } from './model'
import {
  addPresets,
  applyPreset,
  MAX_PRESET_NAME,
  MAX_PRESETS,
  makePreset,
  type Preset,
  presentValues,
  presetFile,
  readPresets,
  renamePreset,
  updatePreset,
} from './presets'

const live = { is_load_param: false }
const pipeline = pipelineSchema.parse({
  id: 'gen',
  mode_defaults: { video: { noise: 0.2 } },
  config_schema: {
    properties: {
      width: { type: 'integer', default: 512, ui: {} },
      height: { type: 'integer', default: 320, ui: {} },
      noise: { type: 'number', default: 0.7, ui: live },
      picture: { type: 'string', default: null, ui: { ...live, component: 'image' } },
    },
  },
})
const make = (name: string, pipelineId = 'gen', params = {}): Preset => {
  const preset = makePreset(name, pipelineId, params, 1)
  if (!preset) throw new Error(name)
  return preset
}
const names = (presets: readonly Preset[]) => presets.map(({ name }) => name)

describe('presets', () => {
  it('keep every value of the mode, also those that nobody has set', () => {
    const sections = planFields(pipeline, 'video')
    expect(presentValues(sections, pipeline, 'video', { width: 640 })).toEqual({ width: 640, height: 320, noise: 0.2 })
  })
  it('have a name that says something, once for each pipeline', () => {
    expect(makePreset('  ', 'gen', {}, 1)).toBeNull()
    const all = addPresets([make('dark'), make(' dark '), make('dark', 'other'), make('dark')])([])
    expect(names(all)).toEqual(['dark', 'dark 2', 'dark', 'dark 3'])
    const long = addPresets([make('x'.repeat(99)), make('x'.repeat(99))])([])
    expect(names(long).every((name) => name.length <= MAX_PRESET_NAME)).toBe(true)
    expect(new Set(names(long)).size).toBe(2)
    const [first, second] = all
    expect(names(renamePreset(second?.id ?? '', 'dark')(all))[1]).toBe('dark 2')
    expect(names(renamePreset(first?.id ?? '', '  ')(all))[0]).toBe('dark')
  })
  it('are bounded', () => {
    const many = Array.from({ length: MAX_PRESETS + 9 }, (_, i) => make(`${i}`))
    expect(addPresets(many)([])).toHaveLength(MAX_PRESETS)
  })
  it('bring their pipeline and leave the values of others alone', () => {
    const doc = { ...newDoc(), pipelineId: 'other', params: { other: { a: 1 }, gen: { noise: 0.9, width: 64 } } }
    const next = applyPreset(make('dark', 'gen', { noise: 0.1 }))(doc)
    expect(next.pipelineId).toBe('gen')
    expect(next.params).toEqual({ other: { a: 1 }, gen: { noise: 0.1 } })
  })
  it('take the present values', () => {
    const [preset] = [make('dark', 'gen', { noise: 0.1 })]
    expect(updatePreset(preset?.id ?? '', { noise: 0.3 }, 7)([preset as Preset])).toMatchObject([
      { name: 'dark', params: { noise: 0.3 }, savedAt: 7 },
    ])
  })
  it('survive a file, and nothing else does', () => {
    const all = [make('dark', 'gen', { noise: 0.1, steps: [3, 2, 1] }), make('ünïcode ☂', 'other')]
    const read = readPresets(presetFile(all), 5)
    expect(read?.map(({ name, pipelineId, params }) => ({ name, pipelineId, params }))).toEqual(
      all.map(({ name, pipelineId, params }) => ({ name, pipelineId, params })),
    )
    for (const text of ['', '{', '[]', '{"presets":[]}', '{"format":"scope-presets","presets":[{"name":""}]}']) {
      expect(readPresets(text, 5)).toBeNull()
    }
  })
})
