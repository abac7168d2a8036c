import assert from 'node:assert/strict'
import { hue, hueDistance, hueOf } from '../lib/card.mjs'
import { colourClip } from '../lib/media.mjs'
import { IN_PAGE } from '../lib/paths.mjs'
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
const SHORT_MS = 1600

/** Three blocks with nothing in the way of a drag: no snapping, everything in view. */
async function ready(s) {
  await record(s, SHORT_MS)
  await s.page.keyboard.press('n')
  await s.page.keyboard.press('z')
  return s.blocks()
}

const rowY = async (s) => (await middleOf(s.tid('timeline-blocks')))[1]
const rulerY = async (s) => (await middleOf(s.tid('timeline-ruler')))[1]
/** In the strip below the blocks, where a selection can be drawn. */
const stripY = async (s) => {
  const { y, height } = await s.tid('timeline-blocks').boundingBox()
  return y + height + 5
}
/** A few pixels inside an edge, so that it is that block's own. */
const INSIDE = 3

async function dragWith(s, key, from, to) {
  await s.page.keyboard.down(key)
  await drag(s, from, to)
  await s.page.keyboard.up(key)
}

async function seekTo(s, ms) {
  await s.page.mouse.click(await xAt(s, ms), await rulerY(s))
}

const menu = (s) => s.page.getByRole('menu')

async function fromMenu(s, block, name) {
  await block.click({ button: 'right' })
  await menu(s).getByRole('menuitem', { name, exact: true }).click()
  await menu(s).waitFor({ state: 'detached' })
}

const near = (actual, wanted, message, tolerance = 60) =>
  assert.ok(Math.abs(actual - wanted) <= tolerance, `${message}: ${actual}, wanted ${wanted}`)

story('a frame drawn below the blocks selects what it touches, with Shift in addition', async (s) => {
  const [dog, cow, dragon] = await ready(s)
  const y = await stripY(s)
  const x = async (block, part) => xAt(s, block.start + (block.end - block.start) * part)
  await drag(s, [await x(cow, 0.5), y], [await x(dragon, 0.5), y])
  assert.deepEqual(await selection(s), [COW, DRAGON])
  // The other way round it is the same frame.
  await drag(s, [await x(cow, 0.5), y], [await x(dog, 0.5), y])
  assert.deepEqual(await selection(s), [DOG, COW])
  await s.tid('timeline-block').last().click()
  await dragWith(s, 'Shift', [await x(dog, 0.3), y], [await x(dog, 0.6), y])
  assert.deepEqual(await selection(s), [DOG, DRAGON])
  const before = await s.blocks()
  await s.page.keyboard.press('Delete')
  assert.deepEqual(await texts(s), [COW])
  await s.page.keyboard.press('Control+z')
  assert.deepEqual(await s.blocks(), before)
  await s.page.mouse.click(await x(cow, 0.5), y)
  assert.deepEqual(await selection(s), [], 'a click beside the blocks selects nothing')
})

story('with Alt a block takes what follows along, without Alt it moves alone', async (s) => {
  const before = await ready(s)
  const [dog, cow, dragon] = before
  const y = await rowY(s)
  const at = (cow.start + cow.end) / 2
  const by = 900
  await dragWith(s, 'Alt', [await xAt(s, at), y], [await xAt(s, at + by), y])
  const after = await s.blocks()
  near(after[1].start - cow.start, by, 'the block has moved')
  const moved = after[1].start - cow.start
  assert.deepEqual(
    after.map(({ start, end }) => [start, end]),
    [
      [dog.start, dog.end],
      [cow.start + moved, cow.end + moved],
      [dragon.start + moved, dragon.end + moved],
    ],
  )
  await s.page.keyboard.press('Control+z')
  assert.deepEqual(await s.blocks(), before, 'one step takes it back')

  // Back, as far as what is before it.
  await s.page.keyboard.press('Control+Shift+z')
  await dragWith(s, 'Alt', [await xAt(s, at + moved), y], [await xAt(s, at - 500), y])
  assert.deepEqual(await s.blocks(), before, 'it closes the gap, and no more')

  // Alone, the last block leaves a gap and nobody follows.
  const last = (dragon.start + dragon.end) / 2
  await drag(s, [await xAt(s, last), y], [await xAt(s, last + 400), y])
  const alone = await s.blocks()
  near(alone[2].start - dragon.start, 400, 'it moved')
  assert.deepEqual(alone.slice(0, 2), before.slice(0, 2))
})

story('with Ctrl an edge makes a block shorter or longer, and what follows keeps up', async (s) => {
  const before = await ready(s)
  const [dog, cow, dragon] = before
  const y = await rowY(s)
  const length = ({ start, end }) => end - start
  await dragWith(s, 'Control', [(await xAt(s, dog.end)) - INSIDE, y], [(await xAt(s, dog.end - 700)) - INSIDE, y])
  const shorter = await s.blocks()
  near(shorter[0].end, dog.end - 700, 'the edge went where it was drawn')
  assert.deepEqual(shorter.slice(1).map(length), [length(cow), length(dragon)])
  assert.equal(shorter[1].start, shorter[0].end)
  assert.equal(shorter[2].start, shorter[1].end)
  await s.page.keyboard.press('Control+z')
  assert.deepEqual(await s.blocks(), before)

  // By its start, the block gets longer and pushes the others.
  await dragWith(s, 'Control', [(await xAt(s, cow.start)) + INSIDE, y], [await xAt(s, cow.start - 500), y])
  const longer = await s.blocks()
  near(length(longer[1]), length(cow) + 500, 'it is longer')
  assert.deepEqual([longer[0], longer[1].start], [dog, cow.start], 'and begins where it began')
  assert.equal(longer[2].start, longer[1].end)
  assert.equal(length(longer[2]), length(dragon))
})

story('a loop plays its stretch again and again until it is switched off', async (s) => {
  await perform(s, SHORT_MS)
  const [dog, cow] = await s.blocks()
  await s.page.keyboard.press('n')
  const y = await rulerY(s)
  const [from, to] = [dog.end - 1000, cow.start + 1000]
  await dragWith(s, 'Shift', [await xAt(s, from), y], [await xAt(s, to), y])
  const loop = await s.tid('timeline-loop').evaluate(({ dataset }) => ({ ...dataset }))
  assert.equal(loop.on, 'true')
  near(Number(loop.in), from, 'it begins where it was drawn')
  near(Number(loop.out), to, 'it ends where it was drawn')

  const shows = ({ rgb }, text) => hueDistance(hue(rgb), hueOf(text)) <= 8
  const times = []
  const frames = await s.watching(async () => {
    await seekTo(s, from + 100)
    await until('the playhead is in the loop', async () => (await s.time()) * 1000 < to)
    for (const end = Date.now() + 9000; Date.now() < end; ) {
      times.push((await s.time()) * 1000)
      await sleep(100)
    }
  })
  const order = []
  for (const frame of frames) {
    const text = TEXTS.find((entry) => shows(frame, entry))
    if (text && order.at(-1) !== text) order.push(text)
  }
  const looped = order.slice(order.indexOf(DOG))
  assert.ok(looped.length >= 6, `three rounds at least: ${looped}`)
  looped.forEach((text, i) => {
    assert.equal(text, i % 2 === 0 ? DOG : COW)
  })
  assert.ok(
    times.every((ms) => ms >= from - 400 && ms <= to + 400),
    `the playhead stays inside: ${Math.min(...times)} to ${Math.max(...times)}`,
  )
  assert.equal(await mode(s), 'replay')

  await s.page.getByRole('button', { name: 'Loop', exact: true }).click()
  await s.hue(DRAGON, 6000 * SLOW)
  await until('it is live at the end', async () => (await mode(s)) === 'live', 20_000)
})

story('a marker has a name, draws edges to it, is a place to go to, and can go', async (s) => {
  const [dog, cow] = await ready(s)
  await s.page.keyboard.press('n')
  const at = 1230
  await seekTo(s, at)
  await until('the playhead is there', async () => Math.abs((await s.time()) * 1000 - at) < 60)
  const stood = (await s.time()) * 1000
  await s.page.keyboard.press('Shift+m')
  const marker = s.tid('timeline-marker')
  assert.match(await marker.getAttribute('aria-label'), /^Marker 1 at 0:01/)
  await marker.dblclick()
  await s.tid('timeline-editor').fill('drop')
  await s.tid('timeline-editor').press('Enter')
  assert.match(await marker.getAttribute('aria-label'), /^Marker drop at 0:01/)

  // Away from it, an edge that comes near is drawn to it.
  await seekTo(s, cow.end - 200)
  const markerX = (await marker.boundingBox()).x
  const y = await rowY(s)
  await drag(s, [(await xAt(s, dog.end)) - INSIDE, y], [markerX - INSIDE + 4, y])
  const [snapped] = await s.blocks()
  near(snapped.end, stood, 'the edge is at the marker', 130)
  assert.notEqual(snapped.end, dog.end)
  const edgeX = await xAt(s, snapped.end)
  near(edgeX, markerX, 'exactly, not where it was let go', 1)
  await s.page.keyboard.press('Control+z')

  // A click goes there, a drag moves it, and keys do both as well.
  await seekTo(s, cow.end - 200)
  await marker.click()
  await until('the playhead is there', async () => Math.abs((await s.time()) * 1000 - stood) < 130)
  const [markerX0, markerY] = await middleOf(marker)
  await s.page.keyboard.press('n')
  await drag(s, [markerX0, markerY], [markerX0 + 60, markerY])
  near((await marker.boundingBox()).x, markerX + 60, 'it has moved', 2)
  const moved = (await marker.boundingBox()).x
  await marker.press('ArrowRight')
  await until('it is a bit further', async () => (await marker.boundingBox()).x > moved)
  await marker.press('Enter')
  await until('Enter goes there', async () => (await s.time()) * 1000 > stood + 200)
  await marker.press('Delete')
  assert.equal(await marker.count(), 0)
  for (let i = 0; i < 3; i++) await s.page.keyboard.press('Control+z')
  near((await marker.boundingBox()).x, markerX, 'and comes back to where it was', 1)
  assert.match(await marker.getAttribute('aria-label'), /^Marker drop/)
})

story('nothing moves, trims, splits, deletes or replaces a locked block', async (s) => {
  const before = await ready(s)
  const [dog, cow, dragon] = before
  const block = s.tid('timeline-block').nth(1)
  await fromMenu(s, block, 'Lock')
  assert.match(await block.getAttribute('aria-label'), /, locked$/)
  const y = await rowY(s)
  const middle = (cow.start + cow.end) / 2
  const drags = {
    'a move': [middle, middle + 900],
    'a trim of its start': [cow.start + 20, cow.start + 500],
    'a trim of its end': [cow.end - 20, cow.end - 500],
    'an edge of the one before': [dog.end - 20, dog.end + 600],
    'an edge of the one after': [dragon.start + 20, dragon.start - 600],
  }
  for (const [name, [from, to]] of Object.entries(drags)) {
    await drag(s, [await xAt(s, from), y], [await xAt(s, to), y])
    assert.deepEqual((await s.blocks())[1], before[1], name)
  }
  // With Alt and Ctrl the others get out of its way, and not it out of theirs.
  const first = (dog.start + dog.end) / 2
  await dragWith(s, 'Alt', [await xAt(s, first), y], [await xAt(s, first + 700), y])
  await dragWith(s, 'Control', [(await xAt(s, dog.end)) - INSIDE, y], [await xAt(s, dog.end + 700), y])
  assert.deepEqual((await s.blocks())[1], before[1], 'ripples stop at it')
  assert.deepEqual((await s.blocks())[2].text, DRAGON)

  await block.click()
  for (const key of ['Delete', 'Shift+Delete', 'd', 'Control+z', '.', ',']) {
    await s.page.keyboard.press(key)
    const same = (await s.blocks()).find(({ start }) => start === cow.start)
    assert.deepEqual(same, before[1], key)
  }
  await seekTo(s, middle)
  await s.page.keyboard.press('s')
  assert.equal((await texts(s)).filter((text) => text === COW).length, 1, 'no split')
  await block.click()
  await s.page.keyboard.press('F2')
  await block.dblclick()
  assert.equal(await s.tid('timeline-editor').count(), 0)

  // A take over it is heard, and says that it is not on the timeline.
  await s.page.keyboard.press('Escape')
  await seekTo(s, cow.start + 100)
  await s.tid('start-stream-button').click()
  await s.state('live', 20_000)
  await s.take(ROBOT)
  await s.hue(ROBOT)
  assert.deepEqual(
    (await texts(s)).filter((text) => text === ROBOT),
    [],
  )
  await s.page.getByText('On air, but not on the timeline').first().waitFor()
  await s.leaveBox()
  await s.stop()

  await s.tid('timeline-clear').click()
  assert.deepEqual(await texts(s), [COW], 'clearing keeps it')
  await fromMenu(s, s.tid('timeline-block').first(), 'Unlock')
  await s.tid('timeline-block').first().click()
  await s.page.keyboard.press('Delete')
  assert.deepEqual(await texts(s), [])
})

story('the overview shows all of it, and a drag in it moves the view', async (s) => {
  await ready(s)
  const overview = s.tid('timeline-overview')
  assert.equal(await overview.isVisible(), false, 'where all is in view it has nothing to say')
  for (let i = 0; i < 8; i++) await s.page.keyboard.press('=')
  await until('there is more than the view', () => overview.isVisible())
  const { x, y, width, height } = await overview.boundingBox()
  const scrolled = () => s.tid('timeline-scroller').evaluate((node) => node.scrollLeft)
  const inView = async () => {
    const frame = await s.tid('timeline-scroller').boundingBox()
    const boxes = await s
      .tid('timeline-block')
      .evaluateAll((nodes) =>
        nodes.map((node) => [node.title, node.getBoundingClientRect().left, node.getBoundingClientRect().right]),
      )
    return boxes.filter(([, left, right]) => right > frame.x && left < frame.x + frame.width).map(([text]) => text)
  }
  await s.page.mouse.click(x + 2, y + height / 2)
  assert.equal(await scrolled(), 0)
  assert.deepEqual((await inView())[0], DOG)
  await drag(s, [x + width * 0.1, y + height / 2], [x + width * 0.95, y + height / 2])
  await until('the end is in view', async () => (await inView()).includes(DRAGON))
  assert.ok((await scrolled()) > 0)
  assert.equal((await inView()).includes(DOG), false)
})

story('with append, a take during replay goes to the end and leaves what was there', async (s) => {
  await perform(s, SHORT_MS)
  const before = await s.blocks()
  await s.tid('timeline-mode').click()
  await menu(s).getByRole('menuitemradio', { name: 'Go to the end' }).click()
  await menu(s).waitFor({ state: 'detached' })
  await seekTo(s, before[0].start + 200)
  await s.hue(DOG)
  await s.take(ROBOT)
  await s.hue(ROBOT)
  const after = await s.blocks()
  assert.deepEqual(
    after.map(({ text }) => text),
    [...TEXTS, ROBOT],
  )
  assert.deepEqual(after.slice(0, 2), before.slice(0, 2))
  assert.equal(after.at(-1).live, true)
  assert.equal(await active(s), ROBOT)
  assert.equal(await mode(s), 'live')
  // It is remembered, and can be changed back.
  await s.page.reload()
  await s.tid('start-stream-button').waitFor()
  await s.tid('timeline-mode').click()
  const choice = menu(s).getByRole('menuitemradio', { name: 'Go to the end' })
  assert.equal(await choice.getAttribute('aria-checked'), 'true')
  await s.page.keyboard.press('Escape')
})

story(
  'a long press on a phone opens the menu of the block, and does nothing else',
  async (s) => {
    await record(s, SHORT_MS)
    await s.page.setViewportSize({ width: 390, height: 844 })
    await s.page.getByRole('tab', { name: 'Takes' }).click()
    await s.tid('timeline-blocks').scrollIntoViewIfNeeded()
    const before = await spans(s)
    const touch = await s.context.newCDPSession(s.page)
    const press = async (locator, ms) => {
      const [x, y] = await middleOf(locator)
      await touch.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: [{ x, y }] })
      await sleep(ms)
      await touch.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] })
    }
    await press(s.tid('timeline-block').nth(1), 1000)
    await menu(s).waitFor()
    assert.deepEqual(await selection(s), [COW])
    await menu(s).getByRole('menuitem', { name: 'Duplicate' }).tap()
    await menu(s).waitFor({ state: 'detached' })
    assert.deepEqual(await texts(s), [DOG, COW, COW, DRAGON])
    await s.page.getByRole('button', { name: /^Undo: / }).tap()
    assert.deepEqual(await spans(s), before)
    await press(s.tid('timeline-block').first(), 120)
    assert.equal(await menu(s).count(), 0, 'a tap is no long press')
    assert.deepEqual(await selection(s), [DOG])
  },
  { touch: true },
)

story('a project whose pipeline is not here keeps its choice, and says what can be done', async (s) => {
  await record(s, SHORT_MS)
  await s.page.keyboard.press('Control+s')
  await s.tid('name-dialog').getByRole('textbox').fill('Nebula')
  await s.tid('name-confirm').click()
  const path = '/api/v1/projects/Nebula'
  const kept = () => s.server.api(path).then(({ document }) => document)
  await until('it is saved', async () => (await kept()).pipelineId === 'testcard')
  const document = { ...(await kept()), pipelineId: 'nebula', params: { nebula: { depth: 3 } } }
  await s.server.api(path, { method: 'PUT', json: { format: 'scope-project', version: 1, document } })
  await s.tid('project-menu').click()
  await s.tid('project-new').click()
  await until('the page is empty', async () => (await s.blocks()).length === 0)
  await s.tid('project-menu').click()
  await s.tid('project-open').click()
  await s.page.getByRole('dialog').getByText('Nebula', { exact: true }).click()

  const card = s.tid('missing-pipeline')
  await card.waitFor()
  assert.match(await card.textContent(), /The pipeline nebula is not on this server/)
  assert.equal(await s.tid('start-stream-button').isDisabled(), true)
  assert.deepEqual(await texts(s), TEXTS)
  await card.getByRole('button', { name: 'Look again' }).click()
  await s.tid('timeline-block').first().click()
  await s.page.keyboard.press('Delete')
  await s.page.keyboard.press('Control+s')
  await until('what was changed is saved', async () => (await kept()).blocks.length === 2)
  assert.deepEqual([(await kept()).pipelineId, (await kept()).params.nebula], ['nebula', { depth: 3 }])
  await card.getByRole('button', { name: /^Use / }).click()
  await card.waitFor({ state: 'detached' })
  assert.equal(await s.tid('start-stream-button').isEnabled(), true)
  await s.page.keyboard.press('Control+z')
  await card.waitFor()
  // A reload changes nothing about it.
  await s.page.reload()
  await card.waitFor()
})

story('blocks go by the clipboard of the system into another window', async (s) => {
  const before = await ready(s)
  await s.tid('timeline-block').nth(1).click()
  await s.page.keyboard.down('Shift')
  await s.tid('timeline-block').nth(2).click()
  await s.page.keyboard.up('Shift')
  await s.page.keyboard.press('Control+c')
  assert.deepEqual(await s.blocks(), before, 'copying changes nothing')

  const page = await s.context.newPage()
  await s.open(page)
  const other = Object.assign(Object.create(Object.getPrototypeOf(s)), s, { page })
  await other.tid('project-menu').click()
  await other.tid('project-new').click()
  await until('the other window has an empty project', async () => (await other.blocks()).length === 0)
  await other.eval(() => document.activeElement?.blur())
  await page.keyboard.press('Control+v')
  await until('they are there', async () => (await other.blocks()).length === 2)
  const lengths = (list) => list.map(({ text, start, end }) => [text, end - start])
  assert.deepEqual(lengths(await other.blocks()), lengths(before.slice(1)))
  assert.equal((await other.blocks())[0].start, 0)
  await page.keyboard.press('Control+z')
  assert.deepEqual(await other.blocks(), [])

  // Other text is nothing to the timeline, and a prompt box takes what it is given.
  await other.prompt().fill('fog')
  await other.prompt().press('Control+a')
  await other.prompt().press('Control+c')
  await other.prompt().press('Escape')
  await other.eval(() => document.activeElement?.blur())
  await page.keyboard.press('Control+v')
  await sleep(300)
  assert.deepEqual(await other.blocks(), [])
  await page.close()

  // Cut and paste within the window; the menu pastes what was copied here.
  await s.page.bringToFront()
  await s.tid('timeline-block').last().click()
  await s.page.keyboard.press('Control+x')
  assert.deepEqual(await texts(s), [DOG, COW])
  await s.page.keyboard.press('Home')
  await s.page.keyboard.press('Control+v')
  assert.deepEqual(await texts(s), [DRAGON, DOG, COW])
})

story('going back is a hard cut where that is asked for, and a lead-over otherwise', async (s) => {
  await perform(s, SHORT_MS)
  const [dog, cow] = await s.blocks()
  const goTo = async (ms, text) => {
    const before = await s.counter()
    await seekTo(s, ms)
    await s.hue(text)
    return before
  }
  const leadsOver = async (ms, text) => {
    const before = await goTo(ms, text)
    await sleep(600)
    assert.ok((await s.counter()) > before, 'the picture has gone on')
  }
  await leadsOver(cow.start + 300, COW)
  await s.tid('timeline-mode').click()
  await menu(s).getByRole('menuitemcheckbox', { name: 'Going back is a hard cut' }).click()
  await menu(s).waitFor({ state: 'detached' })
  const before = await goTo(dog.start + 300, DOG)
  await until('the picture begins anew', async () => (await s.counter()) < before)
  const [block] = await s.blocks()
  assert.equal(block.text, DOG)
  await leadsOver(cow.start + 300, COW)
  // A hand that goes back and forth on the way cuts once.
  const sent = await s.sentCount()
  const y = await rulerY(s)
  await drag(s, [await xAt(s, cow.start + 500), y], [await xAt(s, dog.start + 200), y])
  await s.hue(DOG)
  await until('there was one', async () => (await s.sent(sent)).some(({ reset_cache: cut }) => cut))
  assert.equal((await s.sent(sent)).filter(({ reset_cache: cut }) => cut).length, 1)
})

story('the clip of a project goes with its file, its link and its name, when it lies on the server', async (s) => {
  await s.pipeline('Passthrough')
  await s.page.keyboard.press('l')
  await s.tid('library').getByRole('tab', { name: 'Media' }).click()
  await s.tid('upload-media').setInputFiles(colourClip(s.folder, 'red'))
  await s.tid('asset').filter({ hasText: 'red' }).first().click()
  await s.tid('use-as-input').click()
  await s.page.keyboard.press('Escape')
  const name = s.tid('source-file')
  await until('the clip is the input', async () => /^red/.test(await name.textContent()))
  await s.page.keyboard.press('Control+s')
  await s.tid('name-dialog').getByRole('textbox').fill('Red')
  await s.tid('name-confirm').click()
  await until('it is saved', async () => (await s.server.api('/api/v1/projects')).projects.length > 0)
  await s.context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await s.tid('project-menu').click()
  await s.tid('project-link').click()
  await s.page.getByText('Link copied').first().waitFor()
  const link = await s.eval(() => navigator.clipboard.readText())

  // Another visitor, whose browser has never seen the clip.
  const context = await s.browser.newContext({ viewport: { width: 1440, height: 900 } })
  await context.addInitScript({ path: IN_PAGE })
  const page = await context.newPage()
  const other = Object.assign(Object.create(Object.getPrototypeOf(s)), s, { page, context })
  await other.open()
  const theirs = other.tid('source-file')
  const bundled = await theirs.textContent()
  assert.doesNotMatch(bundled, /^red/)
  await other.tid('project-menu').click()
  await other.tid('project-open').click()
  await page.getByRole('dialog').getByText('Red', { exact: true }).click()
  await until('the clip came along', async () => /^red/.test(await theirs.textContent()))
  await other.start({ pipeline: 'Passthrough', mode: null })
  await other.nearly([254, 0, 0], 5000 * SLOW)
  await other.stop()
  await other.tid('project-menu').click()
  await other.tid('project-new').click()

  // By the link, as a step that can be taken back.
  await page.getByRole('button', { name: 'Use the cat' }).click()
  await until('the built-in one is back', async () => (await theirs.textContent()) === bundled)
  await page.goto(link)
  await other.tid('import-confirm').click()
  await until('the link brings it', async () => /^red/.test(await theirs.textContent()))
  await page.keyboard.press('Control+z')
  await until('undo takes it back', async () => (await theirs.textContent()) === bundled)
  await context.close()
})
