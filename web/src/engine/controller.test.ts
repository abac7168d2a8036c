import { beforeEach, describe, expect, it } from 'vitest'
import { Controller, type Target } from './controller'
import type { TargetKind } from './mapping'
import { Midi, type MidiAccess, type MidiInput, parseMidi } from './midi'
import { importProfile, profileFile } from './profiles'

class Device implements MidiInput {
  onmidimessage: MidiInput['onmidimessage'] = null
  constructor(readonly name: string) {}
  readonly id = 'id'
  send(...data: number[]): void {
    this.onmidimessage?.({ data: Uint8Array.from(data) })
  }
}

let storage: Storage
let knobs: Device
let values: Record<string, number>
let presses: string[]
let clock: number

function target(id: string, kind: TargetKind): Target {
  return {
    id,
    label: id,
    group: '',
    kind,
    steps: 2,
    read: () => values[id] ?? 0,
    write: (value) => {
      values[id] = value
    },
    press: () => presses.push(id),
  }
}

function set() {
  const inputs = [knobs, new Device('Pads')]
  const access: MidiAccess = { inputs, onstatechange: null }
  const midi = new Midi(async () => access, storage)
  let ids = 0
  const controller = new Controller({
    midi,
    resolve: (id) => (id === 'gone' ? null : target(id, id === 'record' ? 'action' : 'range')),
    storage,
    defaultName: 'Main',
    newId: () => `m${++ids}`,
    soon: (run) => run(),
    now: () => clock,
  })
  return { midi, controller }
}

beforeEach(() => {
  const kept = new Map<string, string>()
  storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
  } as Storage
  knobs = new Device('Knobs')
  values = { noise: 0.5 }
  presses = []
  clock = 0
})

describe('learning', () => {
  it('maps the next control that moves, and the mapping works after a reload', async () => {
    const { controller, midi } = set()
    controller.learn('noise')
    await midi.start()
    knobs.send(0xb0, 21, 10)
    expect(controller.store.getState().learning).toBeNull()
    expect(controller.mappings.map(({ source, target }) => [source.kind, source.number, target])).toEqual([
      ['cc', 21, 'noise'],
    ])

    const again = set()
    again.midi.resume()
    await Promise.resolve()
    await Promise.resolve()
    knobs.send(0xb0, 21, 40)
    expect(values.noise).toBe(0.5)
    knobs.send(0xb0, 21, 64)
    expect(values.noise).toBeCloseTo(64 / 127)
    knobs.send(0xb0, 21, 127)
    expect(values.noise).toBe(1)
  })
  it('ignores a pad that is let go, and takes a key of the keyboard as well', async () => {
    const { controller, midi } = set()
    await midi.start()
    controller.learn('record')
    knobs.send(0x80, 36, 0)
    expect(controller.store.getState().learning).toBe('record')
    expect(controller.key('Q', true)).toBe(true)
    expect(controller.key('Q', false)).toBe(true)
    expect(controller.key('Q', true)).toBe(true)
    expect(controller.key('W', true)).toBe(false)
    expect(presses).toEqual(['record'])
  })
  it('sees that a control has 14 bits, and reads all of them', async () => {
    const { controller, midi } = set()
    await midi.start()
    controller.learn('noise')
    knobs.send(0xb0, 7, 64)
    clock = 5
    knobs.send(0xb0, 39, 0)
    expect(controller.mappings[0]?.source.kind).toBe('cc14')
    controller.change(controller.mappings[0]?.id ?? '', { takeOver: 'none' })
    knobs.send(0xb0, 7, 64)
    knobs.send(0xb0, 39, 100)
    expect(values.noise).toBeCloseTo(((64 << 7) | 100) / 16383, 5)
  })
  it('leaves a controller alone that only happens to be 32 above another', async () => {
    const { controller, midi } = set()
    await midi.start()
    controller.learn('noise')
    knobs.send(0xb0, 7, 64)
    clock = 5000
    knobs.send(0xb0, 39, 0)
    expect(controller.mappings[0]?.source.kind).toBe('cc')
  })
})

it('turns values by an endless encoder', async () => {
  const { controller, midi } = set()
  await midi.start()
  controller.learn('noise')
  knobs.send(0xb0, 30, 1)
  controller.change(controller.mappings[0]?.id ?? '', {
    source: { kind: 'endless', device: 'Knobs', channel: 0, number: 30 },
  })
  knobs.send(0xb0, 30, 1)
  expect(values.noise).toBeGreaterThan(0.5)
  knobs.send(0xb0, 30, 126)
  expect(values.noise).toBeLessThan(0.5)
})

it('shows where a knob waits, until it has picked its value up', async () => {
  const { controller, midi } = set()
  await midi.start()
  controller.learn('noise')
  knobs.send(0xb0, 21, 0)
  knobs.send(0xb0, 21, 10)
  expect(controller.ghostOf('noise')).toBeCloseTo(10 / 127)
  knobs.send(0xb0, 21, 100)
  expect(controller.ghostOf('noise')).toBeNull()
})

it('does nothing for a target that is not there now, and keeps its mapping', async () => {
  const { controller, midi } = set()
  await midi.start()
  controller.setProfiles(
    importProfile(
      controller.store.getState(),
      JSON.stringify({
        kind: 'scope-mappings',
        version: 1,
        name: 'Main',
        mappings: [
          {
            id: 'x',
            source: { kind: 'cc', device: null, channel: 0, number: 1 },
            target: 'gone',
            min: 0,
            max: 1,
            curve: 'linear',
            invert: false,
            mode: 'continuous',
            takeOver: 'none',
          },
        ],
      }),
    ),
  )
  knobs.send(0xb0, 1, 100)
  expect(controller.mappings).toHaveLength(1)
  expect(controller.store.getState().active).toBe('Main 2')
})

it('carries a profile in a file, and refuses another file', () => {
  const { controller } = set()
  controller.learn('noise')
  controller.midi({ kind: 'cc', device: 'Knobs', channel: 3, number: 9, value: 1 })
  const { mappings } = controller
  const file = profileFile(controller.store.getState())
  controller.setProfiles(importProfile(controller.store.getState(), file))
  expect(controller.mappings).toEqual(mappings)
  expect(() => importProfile(controller.store.getState(), '{"kind":"something else"}')).toThrow()
})

describe('MIDI', () => {
  it('reads notes, controllers and the wheel, and nothing else', () => {
    expect(parseMidi([0x92, 60, 100], 'a')).toEqual({ kind: 'note', device: 'a', channel: 2, number: 60, value: 100 })
    expect(parseMidi([0x80, 60, 64], 'a')?.value).toBe(0)
    expect(parseMidi([0xe0, 0, 64], 'a')?.value).toBe(8192)
    expect(parseMidi([0xf8], 'a')).toBeNull()
    expect(parseMidi([0xc0, 3], 'a')).toBeNull()
  })
  it('says when there is none, and when it is not allowed', async () => {
    expect(new Midi(null, storage).store.getState().state).toBe('missing')
    const midi = new Midi(() => Promise.reject(new Error('no')), storage)
    await midi.start()
    expect(midi.store.getState().state).toBe('denied')
  })
})
