import * as fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import * as edits from '../doc/edits'
import { loopOver } from '../doc/markers'
import type { Block, Loop } from '../doc/model'
import { blockUnder, endOf, faults, type Take } from '../doc/timeline'
import { Transport } from './transport'

/** Time that passes only when a test says so, and runs what is due on the way. */
class Clock {
  at = 1000
  private due: { at: number; run: () => void }[] = []
  now = () => this.at
  after = (ms: number, run: () => void) => {
    const entry = { at: this.at + ms, run }
    this.due.push(entry)
    return () => {
      this.due = this.due.filter((other) => other !== entry)
    }
  }
  pass(ms: number): void {
    const end = this.at + ms
    for (;;) {
      const next = this.due.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (!next) break
      this.due = this.due.filter((entry) => entry !== next)
      this.at = next.at
      next.run()
    }
    this.at = end
  }
}

/** A transport on a timeline of its own. */
class Rig {
  readonly clock = new Clock()
  readonly sent: string[] = []
  replaced = 0
  blocks: readonly Block[] = []
  loop: Loop | null = null
  readonly transport: Transport
  private changed: () => void = () => undefined

  constructor(blocks: readonly Block[] = []) {
    this.blocks = blocks
    this.transport = new Transport(
      {
        blocks: () => this.blocks,
        loop: () => this.loop,
        grow: (next) => this.set(next),
        replace: (next) => {
          this.replaced += 1
          this.set(next)
        },
        subscribe: (changed) => {
          this.changed = changed
        },
      },
      this.clock,
    )
    this.transport.onBlock = (block) => this.sent.push(block.prompts[0]?.text ?? '')
  }

  set(blocks: readonly Block[], loop = this.loop): void {
    this.blocks = blocks
    this.loop = loop
    this.changed()
  }

  /** As the page does it: the clock first, then the blocks. */
  edit(edit: edits.Edit): void {
    if (edit.shiftMs !== 0) this.transport.shift(edit.shiftMs)
    this.set(edit.blocks)
  }

  /** Starts, with the first frame on screen. */
  start(text = 'a'): void {
    this.transport.arm()
    this.transport.firstFrame(take(text))
  }

  get spans() {
    return this.blocks.map(({ prompts, startMs, endMs }) => [prompts[0]?.text, startMs, endMs])
  }

  get mode() {
    return this.transport.view.mode
  }

  get active() {
    return this.blocks.find(({ id }) => id === this.transport.view.activeId)?.prompts[0]?.text ?? null
  }
}

const take = (text: string, cut: Take['cut'] = 'soft'): Take => ({
  prompts: [{ text, weight: 100 }],
  transition: null,
  cut,
})

const block = (id: string, startMs: number, endMs: number | null, more: Partial<Block> = {}): Block => ({
  ...take(id),
  id,
  prompts: [{ text: id, weight: 100 }],
  startMs,
  endMs,
  color: 1,
  ...more,
})

let rig: Rig
let transport: Transport

/** Takes a, b and c of three seconds each; it is live. */
function perform(): void {
  rig = new Rig()
  transport = rig.transport
  rig.start('a')
  rig.clock.pass(3000)
  transport.take(take('b'))
  rig.clock.pass(3000)
  transport.take(take('c'))
  rig.clock.pass(3000)
}

describe('the clock', () => {
  beforeEach(() => {
    rig = new Rig()
    transport = rig.transport
  })

  it('starts to roll with the first frame, not with Start', () => {
    transport.arm()
    rig.clock.pass(9000)
    expect(transport.time()).toBe(0)
    transport.firstFrame(take('a'))
    rig.clock.pass(500)
    expect(transport.time()).toBe(500)
    expect(rig.spans).toEqual([['a', 0, null]])
  })

  it('keeps both prompts in typed order when a take follows the first frame at once', () => {
    rig.start('first')
    rig.clock.pass(60)
    transport.take(take('second'))
    expect(rig.spans).toEqual([
      ['first', 0, 100],
      ['second', 100, null],
    ])
    expect(rig.active).toBe('second')
  })

  it('does not run while paused or while no frame arrives', () => {
    rig.start()
    rig.clock.pass(1000)
    transport.pause()
    rig.clock.pass(5000)
    expect(transport.time()).toBe(1000)
    transport.resume()
    rig.clock.pass(1000)
    transport.freeze()
    rig.clock.pass(7000)
    expect(transport.time()).toBe(2000)
    expect(transport.stalled).toBe(true)
    transport.thaw()
    rig.clock.pass(250)
    expect(transport.time()).toBe(2250)
  })

  it('stays frozen when resumed during a stall', () => {
    rig.start()
    rig.clock.pass(100)
    transport.pause()
    transport.freeze()
    transport.resume()
    rig.clock.pass(4000)
    expect(transport.time()).toBe(100)
  })

  it('goes to zero on Stop, keeps the blocks and appends after the next Start', () => {
    rig.start('a')
    rig.clock.pass(2000)
    transport.stop()
    expect(transport.time()).toBe(0)
    expect(rig.spans).toEqual([['a', 0, 2000]])
    transport.arm()
    expect(transport.time()).toBe(2000)
    transport.firstFrame(take('b'))
    expect(rig.blocks[1]?.startMs).toBe(2000)
  })

  it('takes nothing while stopped', () => {
    transport.take(take('a'))
    expect(rig.blocks).toEqual([])
  })
})

describe('seeking and replay', () => {
  beforeEach(perform)

  it('replays from where it was put, each block once, and goes live at the end', () => {
    transport.seek(0)
    expect(rig.mode).toBe('replay')
    expect(rig.sent).toEqual(['a'])
    rig.clock.pass(2999)
    expect(rig.active).toBe('a')
    rig.clock.pass(1)
    expect(rig.sent).toEqual(['a', 'b'])
    rig.clock.pass(5999)
    expect(rig.sent).toEqual(['a', 'b', 'c'])
    expect(rig.mode).toBe('replay')
    rig.clock.pass(2000)
    expect(rig.mode).toBe('live')
    expect(rig.spans.at(-1)).toEqual(['c', 9000, null])
    expect(rig.sent).toEqual(['a', 'b', 'c'])
  })

  it('sends nothing for what is on air already, but a hard cut always', () => {
    rig.set(edits.split(rig.blocks, 4000, 9000).blocks)
    transport.seek(3500)
    rig.clock.pass(1000)
    expect(rig.sent).toEqual(['b'])
    rig.set(edits.restyle(rig.blocks, new Set([rig.blocks[2]?.id ?? '']), { cut: 'hard' }).blocks)
    transport.seek(3500)
    rig.clock.pass(1000)
    expect(rig.sent).toEqual(['b', 'b'])
  })

  it('holds what was before a gap, also when put into it', () => {
    rig.set(edits.remove(rig.blocks, new Set([rig.blocks[1]?.id ?? '']), false, 9000).blocks)
    transport.seek(4000)
    expect(rig.active).toBeNull()
    expect(rig.sent).toEqual(['a'])
  })

  it('sends an edited prompt at once when it is under the playhead, else when it is reached', () => {
    transport.seek(1000)
    const [first, , third] = rig.blocks
    rig.set(edits.reprompt(rig.blocks, third?.id ?? '', [{ text: 'z', weight: 100 }]).blocks)
    expect(rig.sent).toEqual(['a'])
    rig.set(edits.reprompt(rig.blocks, first?.id ?? '', [{ text: 'y', weight: 100 }]).blocks)
    expect(rig.sent).toEqual(['a', 'y'])
    rig.clock.pass(6000)
    expect(rig.sent).toEqual(['a', 'y', 'b', 'z'])
  })

  it('sends nothing while paused, and what is under the playhead when it goes on', () => {
    transport.pause()
    transport.seek(4000)
    transport.seek(1000)
    expect(rig.sent).toEqual([])
    expect(rig.active).toBe('a')
    transport.resume()
    expect(rig.sent).toEqual(['a'])
  })

  it('stands still in a hand, and goes on from where it is let go', () => {
    transport.beginScrub()
    transport.seek(4000)
    rig.clock.pass(5000)
    expect(transport.time()).toBe(4000)
    transport.endScrub()
    rig.clock.pass(500)
    expect(transport.time()).toBe(4500)
  })

  it('opens no block at the end until it is let go there', () => {
    transport.seek(4000)
    transport.beginScrub()
    transport.seek(20_000)
    expect(transport.time()).toBe(9000)
    expect(rig.blocks).toHaveLength(3)
    transport.endScrub()
    expect(rig.spans[3]).toEqual(['c', 9000, null])
  })

  it('starts from the playhead when it was put somewhere while stopped', () => {
    transport.stop()
    transport.seek(4000)
    expect(transport.view).toMatchObject({ mode: 'replay', cued: true })
    expect(transport.cuedPrompts()?.[0]?.text).toBe('b')
    rig.start('b')
    rig.clock.pass(2000)
    expect(rig.sent).toEqual(['c'])
    expect(transport.view.cued).toBe(false)
  })

  it('goes live at the end after all, when something else is taken before the first frame', () => {
    transport.stop()
    transport.seek(4000)
    transport.arm()
    transport.take(take('x'))
    transport.firstFrame(take('x'))
    expect([rig.mode, rig.spans.at(-1)]).toEqual(['live', ['x', 9000, null]])
  })

  it('repeats the loop', () => {
    rig.set(rig.blocks, loopOver(1000, 4000))
    transport.seek(0)
    rig.clock.pass(4000)
    expect(transport.time()).toBe(1000)
    rig.clock.pass(3500)
    expect(transport.time()).toBe(1500)
    expect(rig.sent).toEqual(['a', 'b', 'a', 'b', 'a'])
    rig.set(rig.blocks, { ...loopOver(1000, 4000), on: false })
    rig.clock.pass(3000)
    expect(transport.time()).toBe(4500)
  })

  it('repeats a loop that reaches past the end, and none while live', () => {
    rig.set(rig.blocks, loopOver(8000, 30_000))
    rig.clock.pass(5000)
    expect(rig.mode).toBe('live')
    transport.seek(13_000)
    rig.clock.pass(1500)
    expect(transport.time()).toBe(8500)
  })
})

describe('going back', () => {
  let cuts: string[]
  beforeEach(() => {
    perform()
    transport.stop()
    transport.seek(0)
    rig.start('a')
    rig.clock.pass(7000)
    cuts = []
    transport.onBlock = ({ prompts, cut, transition }) =>
      cuts.push(`${prompts[0]?.text} ${cut}${transition ? ' over time' : ''}`)
  })

  it('leads over to what is there, unless a hard cut is asked for', () => {
    transport.seek(1000)
    expect(cuts).toEqual(['a soft'])
    rig.clock.pass(3000)
    transport.cutsBack = true
    transport.seek(1000)
    expect(cuts.slice(2)).toEqual(['a hard'])
    rig.clock.pass(3000)
    expect(cuts.slice(3), 'only what was gone back to').toEqual(['b soft'])
  })

  it('cuts within a block as well, and never on the way forward', () => {
    transport.cutsBack = true
    transport.seek(6500)
    expect(cuts).toEqual(['c hard'])
    transport.seek(8000)
    expect(cuts).toEqual(['c hard'])
  })

  it('cuts once for a hand that moves back and forth, where it lets go', () => {
    transport.cutsBack = true
    transport.beginScrub()
    for (const ms of [6000, 4000, 1000, 5000, 2000, 1500]) transport.seek(ms)
    expect(cuts.filter((text) => text.includes('hard'))).toEqual([])
    transport.endScrub()
    expect(cuts.filter((text) => text.includes('hard'))).toEqual(['a hard'])
    transport.beginScrub()
    for (const ms of [500, 4000]) transport.seek(ms)
    transport.endScrub()
    expect(cuts.filter((text) => text.includes('hard'))).toHaveLength(1)
  })

  it('waits for a picture that is paused', () => {
    transport.cutsBack = true
    transport.pause()
    transport.seek(1000)
    expect(cuts).toEqual([])
    transport.resume()
    expect(cuts).toEqual(['a hard'])
  })
})

describe('takes during replay', () => {
  beforeEach(() => {
    perform()
    transport.stop()
    transport.seek(0)
    rig.start('a')
    rig.clock.pass(4000)
  })

  it('replace up to the next edge, as one step, and say so', () => {
    transport.take(take('x'))
    expect(rig.spans.slice(0, 4)).toEqual([
      ['a', 0, 3000],
      ['b', 3000, 4000],
      ['x', 4000, 6000],
      ['c', 6000, 9000],
    ])
    expect([rig.mode, rig.active, rig.replaced]).toEqual(['overdub', 'x', 1])
    rig.clock.pass(2000)
    expect([rig.mode, rig.active]).toEqual(['replay', 'c'])
    expect(rig.sent).toEqual(['b', 'c'])
  })

  it('keep each other, however quickly they come', () => {
    transport.take(take('x'))
    transport.take(take('y'))
    expect(rig.spans.slice(1, 4)).toEqual([
      ['b', 3000, 4000],
      ['x', 4000, 4100],
      ['y', 4100, 6000],
    ])
    expect(rig.active).toBe('y')
  })

  it('right before an edge replace what follows it', () => {
    rig.clock.pass(1960)
    transport.take(take('x'))
    expect(rig.spans.slice(1)).toEqual([
      ['b', 3000, 6000],
      ['x', 6000, 9000],
    ])
  })

  it('fill the rest of a gap', () => {
    rig.set(edits.remove(rig.blocks, new Set([rig.blocks[1]?.id ?? '']), false, 0).blocks)
    transport.take(take('x'))
    expect(rig.spans[1]).toEqual(['x', 4000, 6000])
  })

  it('stay out of locked blocks, and are on air all the same', () => {
    rig.set(edits.setLocked(rig.blocks, new Set([rig.blocks[1]?.id ?? '']), true).blocks)
    expect(transport.take(take('x'))).toBe(false)
    expect(rig.spans).toHaveLength(3)
    rig.clock.pass(100)
    expect(rig.sent).toEqual(['b'])
  })

  it('go to the end when that is asked for', () => {
    transport.appends = true
    transport.take(take('x'))
    expect(rig.spans.slice(2)).toEqual([
      ['c', 6000, 9000],
      ['x', 9000, null],
    ])
    expect([rig.mode, transport.time(), rig.replaced]).toEqual(['live', 9000, 0])
  })

  it('by moving weights begin one overdub and then change it', () => {
    transport.amend([{ text: 'b', weight: 60 }])
    transport.amend([{ text: 'b', weight: 70 }])
    expect(rig.replaced).toBe(1)
    expect(rig.blocks[2]?.prompts).toEqual([{ text: 'b', weight: 70 }])
  })
})

describe('edits while live', () => {
  beforeEach(perform)

  it('take the clock along with the live end', () => {
    rig.edit(edits.duplicate(rig.blocks, new Set([rig.blocks[0]?.id ?? '']), transport.time()))
    expect(transport.time()).toBe(12_000)
    expect(rig.spans.at(-1)).toEqual(['c', 9000, null])
    rig.edit(edits.remove(rig.blocks, new Set([rig.blocks[0]?.id ?? '']), true, transport.time()))
    expect(transport.time()).toBe(9000)
    expect(rig.sent).toEqual([])
  })

  it('begin at zero again after everything was cleared', () => {
    rig.edit(edits.clear(rig.blocks, transport.time()))
    rig.clock.pass(700)
    expect([transport.time(), rig.spans]).toEqual([700, [['c', 0, null]]])
  })
})

const STEPS = [
  'pass',
  'take',
  'seek',
  'scrub',
  'pause',
  'resume',
  'freeze',
  'thaw',
  'stop',
  'start',
  'edit',
  'loop',
] as const
const sequence = fc.array(
  fc.record({ kind: fc.constantFrom(...STEPS), n: fc.integer({ min: 0, max: 12_000 }), pick: fc.nat({ max: 9 }) }),
  { maxLength: 60 },
)

function edit(on: Rig, n: number, pick: number): void {
  const ids = new Set([on.blocks[pick % Math.max(1, on.blocks.length)]?.id ?? ''])
  const now = on.transport.time()
  const all = [
    () => edits.move(on.blocks, ids, n - 6000),
    () => edits.remove(on.blocks, ids, pick % 2 === 0, now),
    () => edits.split(on.blocks, n, now),
    () => edits.duplicate(on.blocks, ids, now),
    () => edits.rippleTrim(on.blocks, [...ids][0] ?? '', 'end', n),
  ]
  on.edit((all[n % all.length] as () => edits.Edit)())
}

it('always has the block under the playhead as the active one, and what it says on air', () => {
  fc.assert(
    fc.property(sequence, (steps) => {
      const own = new Rig()
      const clock = own.transport
      let air = ''
      clock.onBlock = (entry) => {
        air = entry.prompts[0]?.text ?? ''
      }
      let taken = 0
      for (const { kind, n, pick } of steps) {
        if (kind === 'pass') own.clock.pass(n)
        else if (kind === 'take') {
          taken += 1
          clock.take(take(`take ${taken}`, pick > 7 ? 'hard' : 'soft'))
          if (clock.current === 'rolling' || clock.current === 'paused') air = `take ${taken}`
        } else if (kind === 'seek') clock.seek(n)
        else if (kind === 'scrub') {
          clock.beginScrub()
          clock.seek(n)
          if (pick > 2) clock.seek(12_000 - n)
          clock.endScrub()
        } else if (kind === 'start' && clock.current === 'stopped') {
          air = clock.cuedPrompts()?.[0]?.text ?? 'first'
          own.start(air)
        } else if (kind === 'edit') edit(own, n, pick)
        else if (kind === 'loop') own.set(own.blocks, pick > 4 ? loopOver(n, n + pick * 500) : null)
        else if (kind === 'pause' || kind === 'resume' || kind === 'freeze' || kind === 'thaw' || kind === 'stop')
          clock[kind]()
        expect(faults(own.blocks)).toEqual([])
        const performing = clock.current === 'rolling' || clock.current === 'paused'
        if (!performing) continue
        const under = blockUnder(own.blocks, clock.time())
        expect(clock.view.activeId).toBe(under?.id ?? null)
        if (under && clock.current === 'rolling') expect(under.prompts[0]?.text).toBe(air)
        // Where time passes at the end, something records it.
        if (clock.running && clock.time() >= endOf(own.blocks, 0)) expect(own.blocks.at(-1)?.endMs).toBeNull()
      }
    }),
    { numRuns: 400 },
  )
})

it('loses no take, whenever it comes', () => {
  const moments = fc.array(
    fc.record({ wait: fc.oneof(fc.nat({ max: 150 }), fc.nat({ max: 4000 })), hard: fc.boolean(), pause: fc.boolean() }),
    { minLength: 1, maxLength: 30 },
  )
  fc.assert(
    fc.property(moments, fc.option(fc.nat({ max: 8900 })), (takes, from) => {
      perform()
      if (from !== null) transport.seek(from)
      takes.forEach(({ wait, hard, pause }, i) => {
        rig.clock.pass(wait)
        if (pause) transport.pause()
        transport.take(take(`take ${i}`, hard ? 'hard' : 'soft'))
        transport.resume()
        expect(rig.active).toBe(`take ${i}`)
      })
      expect(faults(rig.blocks)).toEqual([])
      const texts = rig.blocks.map(({ prompts }) => prompts[0]?.text)
      // What runs past the end goes on there as a block of its own.
      const kept = texts.filter((text, i) => text?.startsWith('take ') && text !== texts[i - 1])
      expect(kept).toEqual(takes.map((_, i) => `take ${i}`))
    }),
    { numRuns: 300 },
  )
})

it('keeps unrelated blocks out of an overdub', () => {
  rig = new Rig([block('a', 0, 1000), block('b', 1000, 2000), block('c', 2000, 3000)])
  rig.transport.seek(1500)
  rig.start('b')
  rig.transport.take(take('x'))
  expect(rig.spans).toEqual([
    ['a', 0, 1000],
    ['b', 1000, 1500],
    ['x', 1500, 2000],
    ['c', 2000, 3000],
  ])
})
