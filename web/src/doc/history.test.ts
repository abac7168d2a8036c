import * as fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { scoreOf, Transport } from '../engine/transport'
import * as edits from './edits'
import { bindClock, editBlocks, editDoc, historyStore, redo, UNDO_LIMIT, undo } from './history'
import { type Block, newDoc, type ProjectDoc } from './model'
import { changeDoc, docStore } from './store'
import { closeLive, faults, liveBlock, MIN_BLOCK_MS, type Take } from './timeline'

const take = (text: string): Take => ({ prompts: [{ text, weight: 100 }], transition: null, cut: 'soft' })

let wall = 0
let listeners: (() => void)[] = []
const transport = new Transport(
  scoreOf({
    read: () => docStore.getState(),
    change: changeDoc,
    edit: (change) => editDoc('overdub', change),
    subscribe: (heard) =>
      docStore.subscribe((doc, before) => {
        heard(doc, before)
      }),
  }),
  {
    now: () => wall,
    after: (_, run) => {
      listeners.push(run)
      return () => {
        listeners = listeners.filter((other) => other !== run)
      }
    },
  },
)
bindClock({ time: () => transport.time(), atEnd: () => transport.atEnd(), shift: (ms) => transport.shift(ms) })

function pass(ms: number): void {
  wall += ms
  // One look at the clock is enough: nothing here waits for what happens on the way.
  for (const run of listeners.splice(0)) run()
}

const blocks = () => docStore.getState().blocks
const spans = () => blocks().map(({ prompts, startMs, endMs }) => [prompts[0]?.text, startMs, endMs])
const named = (text: string) => new Set(blocks().flatMap(({ id, prompts }) => (prompts[0]?.text === text ? [id] : [])))

function start(text: string): void {
  transport.arm()
  transport.firstFrame(take(text))
}

function perform(): void {
  transport.stop()
  docStore.setState(newDoc(), true)
  historyStore.setState({ past: [], future: [] })
  start('a')
  pass(3000)
  transport.take(take('b'))
  pass(3000)
  transport.take(take('c'))
  pass(3000)
}

beforeEach(perform)

describe('undo', () => {
  it('makes no step of playing', () => {
    expect(historyStore.getState().past).toEqual([])
    expect(undo()).toBeNull()
  })

  it('keeps the last 200 steps', () => {
    for (let i = 0; i < UNDO_LIMIT + 20; i++) editDoc('name', (doc) => ({ ...doc, name: `${i}` }))
    let count = 0
    while (undo() !== null) count += 1
    expect(count).toBe(UNDO_LIMIT)
    expect(docStore.getState().name).toBe('19')
  })

  it('makes one step of edits that follow each other under one key', () => {
    for (let i = 1; i <= 5; i++) editDoc('nudge', (doc) => ({ ...doc, name: `${i}` }), { merge: 'nudge' })
    expect(historyStore.getState().past).toHaveLength(1)
    undo()
    expect(docStore.getState().name).toBe('')
  })

  it('leaves alone what the step did not change', () => {
    editDoc('name', (doc) => ({ ...doc, name: 'x' }))
    changeDoc((doc) => ({ ...doc, params: { gen: { noise: 0.2 } } }))
    undo()
    expect(docStore.getState()).toMatchObject({ name: '', params: { gen: { noise: 0.2 } } })
  })

  it('does nothing where an edit could not be done', () => {
    expect(editBlocks('split', (list, now) => edits.split(list, 3010, now))).toBeNull()
    expect(historyStore.getState().past).toEqual([])
  })
})

describe('undo of parameters', () => {
  const set = (key: string, value: unknown) => (doc: ProjectDoc) => ({
    ...doc,
    params: { ...doc.params, gen: { ...doc.params.gen, [key]: value } },
  })
  const drag = (key: string, value: unknown, more = {}) =>
    editDoc(key, set(key, value), { merge: `param ${key}`, together: true, ...more })
  const own = () => docStore.getState().params.gen ?? {}
  const labels = () => historyStore.getState().past.map(({ label }) => label)

  it('takes a drag back as one step, however many values it had', () => {
    for (let i = 1; i <= 500; i++) drag('noise', i / 500)
    expect(labels()).toEqual(['noise'])
    undo()
    expect(own()).toEqual({})
    redo()
    expect(own()).toEqual({ noise: 1 })
  })

  it('keeps what somebody else has changed since, and what came in the middle of a drag', () => {
    drag('noise', 0.2)
    changeDoc(set('seed', 7))
    drag('noise', 0.4)
    changeDoc(set('steps', 3))
    expect(labels()).toEqual(['noise'])
    undo()
    expect(own()).toEqual({ seed: 7, steps: 3 })
    redo()
    changeDoc(set('noise', 0.9))
    undo()
    expect(own()).toEqual({ noise: 0.9, seed: 7, steps: 3 })
  })

  it('makes one step of several knobs that move at once, and not one for every message', () => {
    for (let i = 0; i < 300; i++) drag(i % 2 === 0 ? 'noise' : 'seed', i)
    expect(labels()).toEqual(['noise, seed'])
    undo()
    expect(own()).toEqual({})
  })

  it('lets nothing join a step that somebody has gone back or forth to', () => {
    drag('noise', 0.2)
    undo()
    redo()
    drag('noise', 0.3)
    expect(labels()).toEqual(['noise', 'noise'])
    undo()
    expect(own()).toEqual({ noise: 0.2 })
    drag('noise', 0.4)
    undo()
    expect(own()).toEqual({ noise: 0.2 })
  })

  it('makes a step of each that is changed for itself', () => {
    drag('noise', 0.2, { together: false })
    drag('seed', 1, { together: false })
    editDoc('preset', set('noise', 0.5))
    drag('noise', 0.6)
    expect(labels()).toEqual(['noise', 'seed', 'preset', 'noise'])
    for (let i = 0; i < 4; i++) undo()
    expect(own()).toEqual({})
  })

  it('leaves the takes alone that were made during a drag', () => {
    drag('noise', 0.2)
    pass(500)
    transport.take(take('d'))
    pass(500)
    drag('noise', 0.4)
    const before = spans()
    expect(labels()).toEqual(['noise'])
    undo()
    expect(spans()).toEqual(before)
    expect(own()).toEqual({})
  })

  it('whatever is changed in whichever order: all steps back and forth lose nothing of the others', () => {
    const key = fc.constantFrom('noise', 'seed', 'steps')
    const change = fc.record({ key, value: fc.integer({ min: 0, max: 4 }), mine: fc.boolean() })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
        perform()
        for (const { key, value, mine } of changes) {
          if (mine) editDoc(key, set(key, value))
          else changeDoc(set(`other ${key}`, value))
        }
        const after = own()
        while (undo() !== null);
        const foreign = Object.entries(after).filter(([name]) => name.startsWith('other'))
        expect(own()).toEqual(Object.fromEntries(foreign))
        while (redo() !== null);
        expect(own()).toEqual(after)
      }),
    )
  })
})

describe('undo while live', () => {
  it('keeps what was taken since, and lets it go on growing', () => {
    editBlocks('delete', (list, now) => edits.remove(list, named('a'), false, now))
    pass(1000)
    transport.take(take('d'))
    pass(1000)
    undo()
    expect(spans()).toEqual([
      ['a', 0, 3000],
      ['b', 3000, 6000],
      ['c', 6000, 10_000],
      ['d', 10_000, null],
    ])
    expect(transport.time()).toBe(11_000)
    redo()
    expect(spans()[0]).toEqual(['b', 3000, 6000])
    expect(spans().at(-1)).toEqual(['d', 10_000, null])
  })

  it('moves the clock back with the live end', () => {
    editBlocks('delete', (list, now) => edits.remove(list, named('a'), true, now))
    pass(1000)
    transport.take(take('d'))
    pass(500)
    expect([transport.time(), spans().at(-1)]).toEqual([7500, ['d', 7000, null]])
    undo()
    expect([transport.time(), spans().at(-1)]).toEqual([10_500, ['d', 10_000, null]])
    redo()
    expect([transport.time(), spans().at(-1)]).toEqual([7500, ['d', 7000, null]])
  })

  it('brings everything back after Clear, and what was taken since follows it', () => {
    editBlocks('clear', edits.clear)
    pass(2000)
    transport.take(take('d'))
    pass(1000)
    expect(spans()).toEqual([
      ['c', 0, 2000],
      ['d', 2000, null],
    ])
    undo()
    expect(spans()).toEqual([
      ['a', 0, 3000],
      ['b', 3000, 6000],
      ['c', 6000, 9000],
      ['c', 9000, 11_000],
      ['d', 11_000, null],
    ])
    expect(transport.time()).toBe(12_000)
    redo()
    expect([transport.time(), spans()]).toEqual([
      3000,
      [
        ['c', 0, 2000],
        ['d', 2000, null],
      ],
    ])
  })

  it('joins what was split at the live end, as long as it has grown', () => {
    editBlocks('split', (list, now) => edits.split(list, 8000, now))
    pass(2000)
    undo()
    expect(spans().at(-1)).toEqual(['c', 6000, null])
    redo()
    expect(spans().slice(2)).toEqual([
      ['c', 6000, 8000],
      ['c', 8000, null],
    ])
    transport.stop()
    undo()
    expect(spans().at(-1)).toEqual(['c', 6000, 11_000])
  })

  it('takes an overdub back, and what it had replaced is on air again', () => {
    const sent: (string | undefined)[] = []
    transport.onBlock = ({ prompts }) => sent.push(prompts[0]?.text)
    transport.seek(3500)
    pass(500)
    transport.take(take('x'))
    undo()
    expect(spans()[1]).toEqual(['b', 3000, 6000])
    expect(sent).toEqual(['b', 'b'])
    transport.onBlock = () => undefined
  })

  it('puts takes of a later run behind what comes back', () => {
    transport.stop()
    editBlocks('delete', (list, now) => edits.remove(list, named('c'), true, now))
    start('d')
    pass(2000)
    undo()
    expect(spans().slice(2)).toEqual([
      ['c', 6000, 9000],
      ['d', 9000, null],
    ])
    expect(transport.time()).toBe(11_000)
  })
})

const STEPS = [
  'take',
  'pass',
  'undo',
  'redo',
  'remove',
  'ripple',
  'move',
  'split',
  'duplicate',
  'trim',
  'clear',
] as const
const EDITS = new Set<string>(['remove', 'ripple', 'move', 'split', 'duplicate', 'trim', 'clear'])
const sequence = (kinds: readonly (typeof STEPS)[number][]) =>
  fc.array(
    fc.record({ kind: fc.constantFrom(...kinds), n: fc.integer({ min: 0, max: 14_000 }), pick: fc.nat({ max: 9 }) }),
    { maxLength: 40 },
  )

function play(kind: string, n: number, pick: number): void {
  const ids = new Set([blocks()[pick % Math.max(1, blocks().length)]?.id ?? ''])
  editBlocks(kind, (list, now) => {
    if (kind === 'remove' || kind === 'ripple') return edits.remove(list, ids, kind === 'ripple', now)
    if (kind === 'move') return edits.move(list, ids, n - 7000)
    if (kind === 'split') return edits.split(list, n, now)
    if (kind === 'duplicate') return edits.duplicate(list, ids, now)
    if (kind === 'clear') return edits.clear(list, now)
    return edits.trim(list, [...ids][0] ?? '', pick % 2 ? 'start' : 'end', n, now)
  })
}

/** What was live and taken away comes back as far as it had got, and never shorter than a block can be. */
function sameAs(wanted: readonly Block[], time: number): void {
  const [now, then] = [closeLive(blocks(), time), closeLive(wanted, time)]
  const open = (list: readonly Block[]) =>
    list.map((block, i) => (i === list.length - 1 ? { ...block, endMs: 0 } : block))
  expect(open(now)).toEqual(open(then))
  expect(Math.abs((now.at(-1)?.endMs ?? 0) - (then.at(-1)?.endMs ?? 0))).toBeLessThanOrEqual(MIN_BLOCK_MS)
}

it('goes back to the very beginning and forth again when nothing was played in between', () => {
  fc.assert(
    fc.property(sequence(STEPS.filter((kind) => EDITS.has(kind))), (steps) => {
      perform()
      transport.pause()
      const [first, time] = [blocks(), transport.time()]
      let live = true
      for (const { kind, n, pick } of steps) {
        play(kind, n, pick)
        live &&= liveBlock(blocks()) !== null
      }
      const [last, later] = [blocks(), transport.time()]
      while (undo() !== null) expect(faults(blocks())).toEqual([])
      sameAs(first, time)
      if (live) expect(transport.time()).toBe(time)
      while (redo() !== null) expect(faults(blocks())).toEqual([])
      sameAs(last, later)
      if (live) expect(transport.time()).toBe(later)
    }),
    { numRuns: 400 },
  )
})

it('never loses a take made while live, whichever way one goes through the history', () => {
  fc.assert(
    fc.property(sequence(STEPS), (steps) => {
      transport.stop()
      docStore.setState(newDoc(), true)
      historyStore.setState({ past: [], future: [] })
      start('take 0')
      let taken = 1
      for (const { kind, n, pick } of steps) {
        if (kind === 'pass') pass(n)
        else if (kind === 'take') {
          transport.take(take(`take ${taken}`))
          taken += 1
        } else if (kind === 'undo') undo()
        else if (kind === 'redo') redo()
        else play(kind, n, pick)
        expect(faults(blocks())).toEqual([])
        expect(transport.atEnd()).toBe(true)
      }
      while (undo() !== null) expect(faults(blocks())).toEqual([])
      const texts = new Set(blocks().map(({ prompts }) => prompts[0]?.text))
      for (let i = 0; i < taken; i++) expect(texts).toContain(`take ${i}`)
    }),
    { numRuns: 300 },
  )
})
