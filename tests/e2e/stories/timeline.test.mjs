import assert from 'node:assert/strict'
import { hue, hueDistance, hueOf } from '../lib/card.mjs'
import { DOG } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import {
  active,
  COW,
  DRAGON,
  drag,
  middleOf,
  mode,
  perform,
  ROBOT,
  record,
  selection,
  spans,
  TEXTS,
  texts,
  xAt,
} from '../lib/timeline.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const { story } = suite()

story('18: the playhead dragged back while playing puts what is there on air', async (s) => {
  await perform(s)
  assert.equal(await mode(s), 'live')
  const [, cow] = await s.blocks()
  const [, y] = await middleOf(s.tid('timeline-ruler'))
  const from = await s.tid('playhead').evaluate((node) => node.getBoundingClientRect().left)
  const to = cow.start + 400
  await drag(s, [from, y], [await xAt(s, to), y])
  assert.equal(await active(s), COW)
  await s.hue(COW)
  assert.equal(await mode(s), 'replay')
  await until('time goes on from there', async () => (await s.time()) * 1000 > to + 300)
  assert.equal(await s.prompt().inputValue(), COW)
  assert.deepEqual(await texts(s), TEXTS)
})

story('19: a replay shows every block at its time, and is live again at the end', async (s) => {
  await perform(s)
  const blocks = await s.blocks()
  const frames = await s.watching(async () => {
    await s.page.keyboard.press('Home')
    await until('it is live again', async () => (await mode(s)) === 'live', 20_000)
    await sleep(500 * SLOW)
  })
  const shows = ({ rgb }, text) => hueDistance(hue(rgb), hueOf(text)) <= 8
  const from = frames.findIndex((frame) => shows(frame, DOG))
  const order = []
  const at = {}
  for (const frame of frames.slice(from)) {
    const text = TEXTS.find((entry) => shows(frame, entry))
    if (!text || order.at(-1) === text) continue
    order.push(text)
    at[text] = frame.at
  }
  assert.deepEqual(order, TEXTS)
  const shown = at[DRAGON] - at[COW]
  const wanted = blocks[2].start - blocks[1].start
  assert.ok(
    Math.abs(shown - wanted) <= 300 + 100 * SLOW,
    `${shown} ms between the changes, ${wanted} between the blocks`,
  )
  assert.deepEqual((await texts(s)).slice(0, 3), TEXTS)
  assert.equal((await s.blocks()).at(-1).live, true)
})

story('20: the edge between two blocks moves both, and undo puts it back exactly', async (s) => {
  await record(s)
  const before = await spans(s)
  const edge = before[0][1]
  const wanted = edge + 1000
  const [, y] = await middleOf(s.tid('timeline-blocks'))
  // Beside whole seconds and other edges nothing draws the edge elsewhere.
  await s.page.keyboard.press('n')
  await drag(s, [(await xAt(s, edge)) + 2, y], [(await xAt(s, wanted)) + 2, y])
  const after = await spans(s)
  assert.ok(Math.abs(after[0][1] - wanted) <= 120, `${after[0][1]}, wanted ${wanted}`)
  assert.equal(after[1][0], after[0][1], 'they stay adjacent')
  assert.deepEqual(
    [after[0][0], after[1][1], after[2]],
    [before[0][0], before[1][1], before[2]],
    'nothing else has moved',
  )
  await s.page.keyboard.press('Control+z')
  assert.deepEqual(await spans(s), before)
  await s.page.keyboard.press('Control+Shift+z')
  assert.deepEqual(await spans(s), after)

  // Escape puts a drag back that has not ended.
  await drag(s, [(await xAt(s, after[0][1])) + 2, y], [await xAt(s, wanted + 500), y], {
    before: () => s.page.keyboard.press('Escape'),
  })
  assert.deepEqual(await spans(s), after)
})

story('21: blocks are split, duplicated, deleted, cleared, and all of it comes back', async (s) => {
  await record(s)
  const before = await s.blocks()
  const [, rulerY] = await middleOf(s.tid('timeline-ruler'))
  await s.page.mouse.click(await xAt(s, before[1].start + 1200), rulerY)
  await s.page.keyboard.press('s')
  assert.deepEqual(await texts(s), [DOG, COW, COW, DRAGON])
  const [, left, right] = await s.blocks()
  assert.equal(left.end, right.start)
  assert.equal(right.end, before[1].end)

  await s.tid('timeline-block').first().click()
  await s.page.keyboard.press('d')
  assert.deepEqual(await texts(s), [DOG, DOG, COW, COW, DRAGON])
  await s.page.keyboard.press('Delete')
  assert.deepEqual(await texts(s), [DOG, COW, COW, DRAGON])
  const gap = await s.blocks()
  assert.ok(gap[1].start > gap[0].end, 'a gap is left')
  await s.tid('timeline-block').nth(1).click()
  await s.page.keyboard.press('Shift+Delete')
  const closed = await s.blocks()
  assert.equal(closed[1].end - closed[1].start, right.end - right.start)
  assert.equal(closed[1].start, gap[1].start, 'what follows closes up')

  await s.tid('timeline-clear').click()
  assert.deepEqual(await s.blocks(), [])
  await s.page.getByText('Cleared 3 blocks').waitFor()
  await s.page.keyboard.press('Control+z')
  assert.deepEqual(await s.blocks(), closed)
  for (let i = 0; i < 4; i++) await s.page.keyboard.press('Control+z')
  assert.deepEqual(await s.blocks(), before)
})

story('22: zoom stays under the cursor, and Z shows everything', async (s) => {
  await record(s)
  const scroller = await s.tid('timeline-scroller').boundingBox()
  const [, , last] = await s.blocks()
  const y = scroller.y + 40
  // A mouse is at whole pixels.
  const x = Math.round(await xAt(s, Math.min(10_000, last.end)))
  const pxPerMs = ((await xAt(s, 1000)) - (await xAt(s, 0))) / 1000
  const at = (x - (await xAt(s, 0))) / pxPerMs
  await s.page.mouse.move(x, y)
  await s.page.keyboard.down('Control')
  for (const delta of [-120, -240, -360, 120, -200]) {
    const scale = (await xAt(s, at)) - (await xAt(s, 0))
    await s.page.mouse.wheel(0, delta)
    await until('it has zoomed', async () => Math.abs((await xAt(s, at)) - (await xAt(s, 0)) - scale) > 1)
    const now = await xAt(s, at)
    assert.ok(Math.abs(now - x) <= 2, `${at} ms was at ${x}, is at ${now}`)
  }
  await s.page.keyboard.up('Control')
  const inside = async () => {
    const boxes = await s.tid('timeline-block').evaluateAll((nodes) =>
      nodes.map((node) => {
        const { left, right } = node.getBoundingClientRect()
        return [left, right]
      }),
    )
    return boxes.length === 3 && boxes.every(([l, r]) => l >= scroller.x && r <= scroller.x + scroller.width + 1)
  }
  assert.equal(await inside(), false)
  await s.page.keyboard.press('z')
  await until('all blocks are in view', inside)
  const span = (await xAt(s, last.end)) - (await xAt(s, 0))
  assert.ok(span > scroller.width * 0.8, 'and as large as they fit')
})

story('23: everything by keyboard: select, edit in place, move', async (s) => {
  await record(s)
  const list = s.tid('timeline-blocks')
  await s.eval(() => document.activeElement?.blur())
  const focused = () => list.evaluate((node) => node === document.activeElement)
  for (let i = 0; i < 120 && !(await focused()); i++) await s.page.keyboard.press('Tab')
  assert.equal(await focused(), true, 'Tab comes to the blocks')
  await s.page.keyboard.press('ArrowRight')
  assert.deepEqual(await selection(s), [COW])
  const current = () =>
    list.evaluate((node) =>
      document.getElementById(node.getAttribute('aria-activedescendant')).getAttribute('aria-label'),
    )
  assert.match(await current(), /^Block 2 of 3, 0:0\d to 0:0\d, a cow walking in grass/)

  await s.page.keyboard.press('F2')
  await s.tid('timeline-editor').waitFor()
  await s.page.keyboard.press('Control+a')
  await s.page.keyboard.type(ROBOT)
  await s.page.keyboard.press('Enter')
  assert.deepEqual(await texts(s), [DOG, ROBOT, DRAGON])
  assert.equal(await focused(), true, 'the focus is back')
  assert.match(await current(), /^Block 2 of 3, .*, a robot walking on mars/)

  const before = await s.blocks()
  await s.page.keyboard.press('m')
  await until('a screen reader hears how', async () =>
    /Moving/.test(await s.page.locator('p[role="status"]').last().textContent()),
  )
  await s.page.keyboard.press('ArrowRight')
  await s.page.keyboard.press('ArrowRight')
  assert.deepEqual(await texts(s), [DOG, DRAGON, ROBOT])
  await s.page.keyboard.press('Enter')
  const after = await s.blocks()
  assert.deepEqual(
    after.map(({ text }) => text),
    [DOG, DRAGON, ROBOT],
  )
  assert.ok(after[2].start > before[1].start)
  assert.match(await current(), /^Block 3 of 3, .*, a robot walking on mars/)

  await s.page.keyboard.press('m')
  await s.page.keyboard.press('ArrowLeft')
  await s.page.keyboard.press('Escape')
  assert.deepEqual(await s.blocks(), after, 'Escape puts back')
  await s.page.keyboard.press('Control+z')
  await s.page.keyboard.press('Control+z')
  assert.deepEqual(await texts(s), TEXTS)
  assert.equal(await s.tid('models-sheet').count(), 0)
})

story('24: a block can be edited while another plays, and shows it when it is reached', async (s) => {
  await perform(s)
  await s.page.keyboard.press('Home')
  await s.hue(DOG)
  await s.tid('timeline-block').nth(2).dblclick()
  await s.tid('timeline-editor').fill(ROBOT)
  await s.tid('timeline-editor').press('Enter')
  assert.equal(await active(s), DOG, 'playback goes on')
  await s.hue(COW, 3000 * SLOW)
  await s.hue(ROBOT, 3000 * SLOW)
  assert.deepEqual((await texts(s)).slice(0, 3), [DOG, COW, ROBOT])
})

story('a take during replay replaces up to the next edge, and can be undone', async (s) => {
  await perform(s)
  const before = await s.blocks()
  const [, rulerY] = await middleOf(s.tid('timeline-ruler'))
  await s.page.mouse.click(await xAt(s, before[0].start + 300), rulerY)
  await s.hue(DOG)
  await s.take(ROBOT)
  assert.equal(await mode(s), 'overdub')
  await s.hue(ROBOT)
  assert.deepEqual((await texts(s)).slice(0, 4), [DOG, ROBOT, COW, DRAGON])
  await s.leaveBox()
  await s.hue(COW, 3000 * SLOW)
  await s.page.keyboard.press('Control+z')
  assert.deepEqual((await s.blocks()).slice(0, 2), before.slice(0, 2))
})

story('undo while live keeps what was taken since', async (s) => {
  await perform(s)
  await s.tid('timeline-block').nth(1).click()
  await s.page.keyboard.press('Delete')
  assert.deepEqual(await texts(s), [DOG, DRAGON])
  await s.take(ROBOT)
  await s.hue(ROBOT)
  await s.leaveBox()
  await s.page.keyboard.press('Control+z')
  assert.deepEqual(await texts(s), [...TEXTS, ROBOT])
  assert.equal((await s.blocks()).at(-1).live, true)
  await s.moves()
})

story(
  'the timeline on a phone: select, seek, split, edit, delete, undo',
  async (s) => {
    await s.start()
    await sleep(2500)
    await s.take(COW)
    await sleep(2500)
    await s.stop()
    await s.page.setViewportSize({ width: 390, height: 844 })
    await s.page.getByRole('tab', { name: 'Takes' }).click()
    await s.tid('timeline-blocks').scrollIntoViewIfNeeded()
    const before = await s.blocks()
    const [, rulerY] = await middleOf(s.tid('timeline-ruler'))
    await s.page.touchscreen.tap(await xAt(s, 1200), rulerY)
    await until('the playhead is there', async () => Math.abs((await s.time()) - 1.2) < 0.2)
    await s.page.getByRole('button', { name: 'Split at the playhead' }).tap()
    assert.deepEqual(await texts(s), [DOG, DOG, COW])
    await s.tid('timeline-block').last().tap()
    assert.deepEqual(await selection(s), [COW])
    await s.page.getByRole('button', { name: 'Edit prompt' }).tap()
    await s.tid('timeline-editor').fill(ROBOT)
    await s.tid('timeline-editor').press('Enter')
    assert.deepEqual(await texts(s), [DOG, DOG, ROBOT])
    await s.page.getByRole('button', { name: 'Delete', exact: true }).tap()
    assert.deepEqual(await texts(s), [DOG, DOG])
    for (let i = 0; i < 3; i++) await s.page.getByRole('button', { name: /^Undo: / }).tap()
    assert.deepEqual(await s.blocks(), before)
  },
  { touch: true },
)
