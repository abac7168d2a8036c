import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { blocksArbitrary } from './arbitrary'
import type { Edit } from './edits'
import * as edits from './edits'
import type { Block } from './model'
import { blockEnd, endOf, faults, liveBlock, MIN_BLOCK_MS } from './timeline'

const block = (id: string, startMs: number, endMs: number | null, more: Partial<Block> = {}): Block => ({
  id,
  startMs,
  endMs,
  prompts: [{ text: id, weight: 100 }],
  transition: null,
  cut: 'soft',
  color: 1,
  ...more,
})
const spans = ({ blocks }: { blocks: readonly Block[] }) =>
  blocks.map(({ prompts, startMs, endMs }) => [prompts[0]?.text, startMs, endMs])
const ids = (...names: string[]) => new Set(names)

/** Three that touch, a gap, and one more. */
const four = [block('a', 0, 3000), block('b', 3000, 6000), block('c', 6000, 9000), block('d', 10_000, 12_000)]
const live = [block('a', 0, 3000), block('b', 3000, 6000), block('c', 6000, null)]

describe('moving', () => {
  it('takes free time as it comes', () => {
    expect(spans(edits.move(four, ids('d'), 500))[3]).toEqual(['d', 10_500, 12_500])
    expect(spans(edits.move(four, ids('c'), 700))[2]).toEqual(['c', 6700, 9700])
  })
  it('changes places with a neighbour whose middle it has passed, and moves nothing else', () => {
    expect(spans(edits.move(four, ids('a'), 1600))).toEqual([
      ['b', 0, 3000],
      ['a', 3000, 6000],
      ['c', 6000, 9000],
      ['d', 10_000, 12_000],
    ])
    expect(spans(edits.move(four, ids('c'), -4600)).map(([text]) => text)).toEqual(['c', 'a', 'b', 'd'])
  })
  it('stays where there is no room', () => {
    expect(edits.move(four, ids('b'), 400).blocks).toBe(four)
  })
  it('jumps over others into free time that is wide enough', () => {
    expect(spans(edits.move(four, ids('a'), 12_000)).at(-1)).toEqual(['a', 12_000, 15_000])
  })
  it('never goes past the live end', () => {
    expect(edits.move(live, ids('b'), 9000).blocks).toBe(live)
  })
  it('moves what follows along when asked', () => {
    expect(spans(edits.rippleMove(four, ids('b'), 1000))).toEqual([
      ['a', 0, 3000],
      ['b', 4000, 7000],
      ['c', 7000, 10_000],
      ['d', 11_000, 13_000],
    ])
    expect(edits.rippleMove(live, ids('b'), 1000).shiftMs).toBe(1000)
  })
  it('steps with the keyboard: into free time, else in exchange', () => {
    expect(spans(edits.step(four, ids('c'), 100))[2]).toEqual(['c', 6100, 9100])
    expect(spans(edits.step(four, ids('b'), 100)).map(([text]) => text)).toEqual(['a', 'c', 'b', 'd'])
    expect(edits.nudge(four, ids('b'), 100).blocks).toBe(four)
  })
})

describe('edges', () => {
  it('stop at the neighbour and at the shortest length', () => {
    expect(spans(edits.trim(four, 'c', 'end', 20_000, 0))[2]).toEqual(['c', 6000, 10_000])
    expect(spans(edits.trim(four, 'c', 'start', 20_000, 0))[2]).toEqual(['c', 9000 - MIN_BLOCK_MS, 9000])
  })
  it('roll together where two blocks touch', () => {
    expect(spans(edits.roll(four, 'a', 4000, 0)).slice(0, 2)).toEqual([
      ['a', 0, 4000],
      ['b', 4000, 6000],
    ])
    expect(edits.roll(four, 'c', 9500, 0).blocks).toBe(four)
    expect(spans(edits.roll(live, 'b', 8000, 7000))[2]).toEqual(['c', 7000 - MIN_BLOCK_MS, null])
  })
  it('ripple what follows, and the clock of what is live', () => {
    expect(spans(edits.rippleTrim(four, 'a', 'end', 4000))).toEqual([
      ['a', 0, 4000],
      ['b', 4000, 7000],
      ['c', 7000, 10_000],
      ['d', 11_000, 13_000],
    ])
    expect(spans(edits.rippleTrim(four, 'b', 'start', 4000))[2]).toEqual(['c', 5000, 8000])
    expect(edits.rippleTrim(live, 'a', 'end', 2000).shiftMs).toBe(-1000)
  })
  it('ripple only as far as a locked block has room', () => {
    const locked = four.with(3, block('d', 10_000, 12_000, { locked: true }))
    expect(spans(edits.rippleTrim(locked, 'a', 'end', 9000))).toEqual([
      ['a', 0, 4000],
      ['b', 4000, 7000],
      ['c', 7000, 10_000],
      ['d', 10_000, 12_000],
    ])
  })
})

describe('cutting, copying and taking away', () => {
  it('splits in two of which the second begins without a transition', () => {
    const [, b, rest] = edits.split([...four.slice(0, 1), block('b', 3000, 6000, { cut: 'hard' })], 4000, 0).blocks
    expect([b?.endMs, b?.cut, rest?.startMs, rest?.endMs, rest?.cut]).toEqual([4000, 'hard', 4000, 6000, 'soft'])
    expect(edits.split(four, 3050, 0).blocks).toBe(four)
    expect(edits.split(four, 9500, 0).blocks).toBe(four)
  })
  it('splits what is live where it has got to', () => {
    expect(spans(edits.split(live, 8000, 8000)).slice(2)).toEqual([
      ['c', 6000, 8000],
      ['c', 8000, null],
    ])
  })
  it('leaves a gap, or closes it', () => {
    expect(spans(edits.remove(four, ids('b'), false, 0))[1]).toEqual(['c', 6000, 9000])
    expect(spans(edits.remove(four, ids('a', 'c'), true, 0))).toEqual([
      ['b', 0, 3000],
      ['d', 4000, 6000],
    ])
    expect(edits.remove(live, ids('a'), true, 7000).shiftMs).toBe(-3000)
  })
  it('clears all but locked blocks, and what is live begins anew behind them', () => {
    expect(edits.clear(live, 9000)).toEqual({ blocks: [], shiftMs: -9000, made: [] })
    const locked = live.with(0, block('a', 0, 3000, { locked: true }))
    expect(spans(edits.clear(locked, 9000))).toEqual([['a', 0, 3000]])
  })
  it('duplicates behind the last one and makes room', () => {
    expect(spans(edits.duplicate(four, ids('b'), 0))).toEqual([
      ['a', 0, 3000],
      ['b', 3000, 6000],
      ['b', 6000, 9000],
      ['c', 9000, 12_000],
      ['d', 13_000, 15_000],
    ])
    expect(edits.duplicate(live, ids('b'), 9000).shiftMs).toBe(3000)
  })
  it('copies what is live up to now, in front of it', () => {
    const edit = edits.duplicate(live, ids('c'), 8000)
    expect(spans(edit).slice(2)).toEqual([
      ['c', 6000, 8000],
      ['c', 8000, null],
    ])
    expect(edit.shiftMs).toBe(2000)
  })
  it('pastes at a time, and inside a block at its nearer edge', () => {
    const copies = edits.copy(four, ids('a'), 0)
    expect(spans(edits.paste(four, copies, 20_000, 0)).at(-1)).toEqual(['a', 20_000, 23_000])
    expect(spans(edits.paste(four, copies, 3500, 0))[1]).toEqual(['a', 3000, 6000])
    expect(spans(edits.paste(four, copies, 5500, 0))[2]).toEqual(['a', 6000, 9000])
  })
  it('finds a place behind a locked block that leaves no room', () => {
    const locked = four.with(2, block('c', 6000, 9000, { locked: true }))
    const edit = edits.duplicate(locked, ids('b'), 0)
    expect(spans(edit).map(([text]) => text)).toEqual(['a', 'b', 'c', 'b', 'd'])
    expect(spans(edit)[2]).toEqual(['c', 6000, 9000])
  })
})

interface Run {
  op: number
  pick: readonly number[]
  at: number
  flag: boolean
}

const EDGES = ['start', 'end'] as const
/** Any edit on any blocks with any numbers. */
function apply(blocks: readonly Block[], { op, pick, at, flag }: Run, nowMs: number): Edit {
  const chosen = new Set(pick.flatMap((i) => (blocks.length > 0 ? [(blocks[i % blocks.length] as Block).id] : [])))
  const one = [...chosen][0] ?? ''
  const edge = EDGES[flag ? 0 : 1]
  const all: (() => Edit)[] = [
    () => edits.move(blocks, chosen, at - 6000),
    () => edits.rippleMove(blocks, chosen, at - 6000),
    () => edits.nudge(blocks, chosen, flag ? 100 : -100),
    () => edits.step(blocks, chosen, flag ? 1000 : -1000),
    () => edits.trim(blocks, one, edge, at, nowMs),
    () => edits.roll(blocks, one, at, nowMs),
    () => edits.rippleTrim(blocks, one, edge, at),
    () => edits.split(blocks, at, nowMs),
    () => edits.remove(blocks, chosen, flag, nowMs),
    () => edits.duplicate(blocks, chosen, nowMs),
    () => edits.paste(blocks, edits.copy(blocks, chosen, nowMs), at, nowMs),
    () => edits.restyle(blocks, chosen, { color: (at % 8) + 1 }),
    () => edits.rename(blocks, one, flag ? 'name' : ''),
    () => edits.reprompt(blocks, one, [{ text: `new ${at}`, weight: 100 }]),
    () => edits.setLocked(blocks, chosen, flag),
    () => (flag ? edits.clear(blocks, nowMs) : edits.split(blocks, at, nowMs)),
  ]
  return (all[op % all.length] as () => Edit)()
}

const runs = fc.array(
  fc.record({
    op: fc.nat({ max: 15 }),
    pick: fc.array(fc.nat({ max: 20 }), { minLength: 1, maxLength: 4 }),
    at: fc.oneof(fc.integer({ min: 0, max: 15_000 }), fc.double({ min: 0, max: 15_000, noNaN: true })),
    flag: fc.boolean(),
  }),
  { maxLength: 20 },
)

const UNLOCKS = 14

it('keeps the invariants, locked blocks and whole milliseconds through any sequence of edits', () => {
  fc.assert(
    fc.property(blocksArbitrary(), runs, fc.integer({ min: 0, max: 9000 }), (start, sequence, more) => {
      let blocks: readonly Block[] = start
      let nowMs = endOf(start, 0) + more
      for (const run of sequence) {
        const locked = blocks.filter((entry) => entry.locked)
        const before = liveBlock(blocks)
        const edit = apply(blocks, run, nowMs)
        nowMs += edit.shiftMs
        expect(faults(edit.blocks)).toEqual([])
        if (run.op % 16 !== UNLOCKS) for (const block of locked) expect(edit.blocks).toContainEqual(block)
        const after = liveBlock(edit.blocks)
        // What is live has neither been ended by an edit nor been left behind by the clock.
        if (after && before && after.id === before.id) expect(blockEnd(after, nowMs)).toBeGreaterThan(after.startMs)
        if (before && !after) expect(nowMs).toBeGreaterThanOrEqual(endOf(edit.blocks, 0))
        blocks = edit.blocks
      }
    }),
    { numRuns: 400 },
  )
})

it('moves, trims and rolls without changing what other blocks say or how many there are', () => {
  fc.assert(
    fc.property(blocksArbitrary(), runs, (start, sequence) => {
      const nowMs = endOf(start, 0) + 500
      for (const run of sequence.filter(({ op }) => op < 7)) {
        const { blocks } = apply(start, run, nowMs)
        const say = (list: readonly Block[]) => list.map(({ prompts }) => prompts[0]?.text).sort()
        expect(say(blocks)).toEqual(say(start))
      }
    }),
  )
})
