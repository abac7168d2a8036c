import { describe, expect, it } from 'vitest'
import { pipelineSchema } from '../api/types'
import { allFields, applies, keysOf, liveValue, niceStep, planFields, resolveParams } from './plan'
import { smallerSize, snap } from './resolution'

const load = { category: 'configuration', is_load_param: true }
const live = { category: 'configuration', is_load_param: false }

const pipeline = pipelineSchema.parse({
  id: 'gen',
  name: 'Generator',
  supported_modes: ['text', 'video'],
  default_mode: 'text',
  min_dimension: 16,
  mode_defaults: { video: { width: 512, height: 512, denoising_steps: [1000, 750] } },
  config_schema: {
    $defs: { Quant: { enum: ['fp8_e4m3fn'], title: 'Quant', type: 'string' } },
    properties: {
      hidden: { type: 'integer', default: 3 },
      height: { default: 320, minimum: 1, type: 'integer', ui: { ...load, component: 'resolution', order: 4 } },
      width: { default: 576, minimum: 1, type: 'integer', ui: { ...load, component: 'resolution', order: 4 } },
      noise_scale: {
        default: 0.7,
        minimum: 0,
        maximum: 1,
        type: 'number',
        ui: { ...live, order: 7, modes: ['video'] },
      },
      gain: { default: 0.37, type: 'number', ui: { ...live, order: 9 } },
      on: { default: true, type: 'boolean', title: 'On', ui: live },
      shape: { enum: ['a', 'b', 'c', 'd', 'e'], default: 'a', type: 'string', ui: live },
      quantization: {
        anyOf: [{ $ref: '#/$defs/Quant' }, { type: 'null' }],
        default: null,
        ui: { ...load, component: 'quantization', order: 8 },
      },
      denoising_steps: { type: 'array', items: { type: 'integer' }, default: [1000, 500], ui: { ...load, order: 6 } },
      lora_merge_strategy: { type: 'string', default: 'x', ui: { ...load, component: 'lora' } },
      images: { type: 'array', items: { type: 'string' }, default: null, ui: { ...live, component: 'image' } },
      label: { type: 'string', default: '', ui: { category: 'configuration' } },
      odd: { type: 'object', ui: { ...live, component: 'never-heard-of-it' } },
    },
  },
})

const field = (key: string, mode: 'text' | 'video' = 'video') => {
  const found = allFields(pipeline, mode).find((candidate) => candidate.key === key)
  if (!found) throw new Error(`no field ${key}`)
  return found
}

describe('planFields', () => {
  it('picks a widget from type, bounds, enum and component', () => {
    expect(field('noise_scale')).toMatchObject({ widget: 'slider', step: 0.01, reload: false })
    expect(field('gain')).toMatchObject({ widget: 'number', integer: false })
    expect(field('on').widget).toBe('switch')
    expect(field('shape').widget).toBe('select')
    expect(field('denoising_steps').widget).toBe('steps')
    expect(field('images')).toMatchObject({ widget: 'asset', asset: { kind: 'image', list: true } })
    expect(field('odd').widget).toBe('json')
  })
  it('follows a nullable reference and offers "None"', () => {
    expect(field('quantization')).toMatchObject({ widget: 'segmented', nullable: true, reload: true })
    expect(field('quantization').options.map((option) => option.value)).toEqual([null, 'fp8_e4m3fn'])
  })
  it('draws no field without ui, and none of another mode', () => {
    const keys = allFields(pipeline, 'text').map((candidate) => candidate.key)
    expect(keys).not.toContain('hidden')
    expect(keys).not.toContain('noise_scale')
    expect(keys).not.toContain('lora_merge_strategy')
  })
  it('treats a missing is_load_param as a load parameter', () => {
    expect(field('label').reload).toBe(true)
  })
  it('merges width and height into one size field with the rule of the pipeline', () => {
    const sizes = allFields(pipeline, 'video').filter((candidate) => candidate.widget === 'resolution')
    expect(sizes).toHaveLength(1)
    expect(sizes[0]?.size?.rule.multipleOf).toBe(16)
  })
  it('orders inside a section by order, then key', () => {
    const quality = planFields(pipeline, 'video').find((section) => section.id === 'quality')
    expect(quality?.fields.map((candidate) => candidate.key)).toEqual(['width', 'denoising_steps'])
  })
})

describe('a schema that the page has never seen', () => {
  const stranger = pipelineSchema.parse({
    id: 'stranger',
    config_schema: {
      properties: {
        on: { type: 'boolean', default: false, ui: { ...live, order: 1 } },
        mood: { type: 'string', enum: ['calm', 'wild'], default: 'calm', ui: { ...live, order: 2 } },
        forced: { type: 'string', enum: ['a', 'b'], default: 'a', ui: { ...live, component: 'select' } },
        unbounded: { type: 'number', default: 0.37, ui: { ...live, component: 'slider' } },
        words: { type: 'array', items: { type: 'string' }, minItems: 1, maxItems: 3, ui: live },
        curve: { type: 'array', items: { type: 'number', minimum: 0, maximum: 1 }, default: [0, 1], ui: live },
        clip: { type: 'string', default: '', ui: { ...live, component: 'video' } },
        camera: {
          type: 'object',
          default: { zoom: 2 },
          properties: {
            zoom: { type: 'number', default: 1, minimum: 1, maximum: 8 },
            shake: { type: 'object', properties: { amount: { type: 'number' } }, ui: { order: 1 } },
          },
          ui: { ...live, section: 'motion' },
        },
        wildness: { type: 'number', default: 0, ui: { ...live, depends_on: { mood: ['wild', 'mad'], on: true } } },
        odd: { type: 'array', items: { type: 'object' }, ui: { ...live, component: 'hologram' } },
      },
    },
  })
  const of = (key: string) => {
    const found = allFields(stranger, 'video').find((candidate) => candidate.key === key)
    if (!found) throw new Error(key)
    return found
  }
  it('gets a widget for every value', () => {
    expect(of('forced').widget).toBe('select')
    expect(of('unbounded')).toMatchObject({ widget: 'number', default: 0.37, integer: false })
    expect(of('words')).toMatchObject({ widget: 'tags', items: { min: 1, max: 3 } })
    expect(of('curve')).toMatchObject({ widget: 'steps', min: 0, max: 1, descending: false })
    expect(of('clip')).toMatchObject({ widget: 'asset', asset: { kind: 'video', list: false } })
    expect(of('odd').widget).toBe('json')
  })
  it('shows objects by their fields, which take effect with them', () => {
    const camera = of('camera')
    expect(camera).toMatchObject({ widget: 'group', section: 'motion', reload: false })
    expect(camera.children?.map(({ key, widget }) => [key, widget])).toEqual([
      ['shake', 'group'],
      ['zoom', 'slider'],
    ])
    expect(camera.children?.[1]).toMatchObject({ default: 2, reload: false })
  })
  it('hides what depends on something else', () => {
    const values: Record<string, unknown> = { mood: 'wild', on: true }
    expect(applies(of('wildness'), (key) => values[key])).toBe(true)
    values.on = false
    expect(applies(of('wildness'), (key) => values[key])).toBe(false)
    expect(applies(of('mood'), () => undefined)).toBe(true)
  })
  it('takes a picture back by naming none', () => {
    expect(liveValue(of('clip'), null)).toBe('')
    expect(liveValue(of('on'), null)).toBeUndefined()
  })
})

describe('adapters and references', () => {
  const family = pipelineSchema.parse({
    id: 'family',
    supports_lora: true,
    supports_vace: true,
    config_schema: {
      properties: {
        lora_merge_strategy: { type: 'string', default: 'runtime_peft', ui: { ...load, component: 'lora' } },
        vace_context_scale: { type: 'number', default: 1, minimum: 0, maximum: 2, ui: { ...load, component: 'vace' } },
      },
    },
  })
  it('are fields of pipelines that can do something with them, and of no other', () => {
    const keys = allFields(family, 'text').map(({ key }) => key)
    expect(keys).toEqual(['loras', 'vace_ref_images', 'first_frame_image', 'last_frame_image', 'vace_context_scale'])
    expect(allFields(pipeline, 'text').map(({ key }) => key)).not.toContain('loras')
    const adapters = allFields(family, 'text')[0]
    expect(adapters && keysOf(adapters)).toEqual(['loras', 'lora_merge_strategy'])
  })
  it('are loaded with their way of merging; strengths that are live go to the stream as well', () => {
    const own = {
      loras: [
        { path: 'a', scale: 2 },
        { path: 'b', scale: 3, merge_mode: 'permanent_merge' },
      ],
    }
    const { load: loading, live: running } = resolveParams(family, 'text', own)
    expect(loading.loras).toEqual([
      { path: 'a', scale: 2, merge_mode: 'runtime_peft' },
      { path: 'b', scale: 3, merge_mode: 'permanent_merge' },
    ])
    expect(running.lora_scales).toEqual([{ path: 'a', scale: 2 }])
    expect(resolveParams(family, 'text', {}).load).not.toHaveProperty('loras')
  })
  it('send pictures to the stream, and no empty list at its start', () => {
    const { live: running } = resolveParams(family, 'text', { vace_ref_images: ['x.png'], first_frame_image: null })
    expect(running.vace_ref_images).toEqual(['x.png'])
    expect(running).not.toHaveProperty('first_frame_image')
    expect(resolveParams(family, 'text', { vace_ref_images: [] }).live).not.toHaveProperty('vace_ref_images')
  })
})

describe('resolveParams', () => {
  it('prefers own values over mode defaults over schema defaults, and splits load from live', () => {
    const text = resolveParams(pipeline, 'text', {})
    expect(text.load).toMatchObject({ width: 576, height: 320 })
    const video = resolveParams(pipeline, 'video', { width: 640, gain: 0.5 })
    expect(video.load).toMatchObject({ width: 640, height: 512 })
    expect(video.live).toMatchObject({ gain: 0.5, noise_scale: 0.7 })
  })
  it('sends steps under their runtime name and leaves nulls out', () => {
    const { load: loading, live: running } = resolveParams(pipeline, 'video', {})
    expect(running.denoising_step_list).toEqual([1000, 750])
    expect(loading).not.toHaveProperty('quantization')
    expect(loading).not.toHaveProperty('denoising_steps')
  })
})

describe('sizes', () => {
  const rule = { multipleOf: 16, min: 16, max: 2048 }
  it('snaps to the nearest multiple inside the bounds', () => {
    expect(snap(577, rule)).toBe(576)
    expect(snap(3, rule)).toBe(16)
    expect(snap(9999, rule)).toBe(2048)
    expect(snap(Number.NaN, rule)).toBe(16)
  })
  it('finds a smaller size of the same orientation, down to the limit', () => {
    expect(smallerSize({ width: 576, height: 320 }, rule)).toEqual({ width: 448, height: 256 })
    expect(smallerSize({ width: 16, height: 16 }, rule)).toBeNull()
  })
  it('chooses a step of 1, 2 or 5', () => {
    expect(niceStep(0, 1)).toBe(0.01)
    expect(niceStep(0, 2)).toBe(0.02)
    expect(niceStep(-10, 10)).toBe(0.2)
  })
})
