import assert from 'node:assert/strict'
import { apart, cardColour } from '../lib/card.mjs'
import { DOG } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const { story } = suite()
const COW = 'a cow walking in grass'
const DRAGON = 'a dragon flying through clouds'

story('7: a typed prompt is in the picture, and says how long it took', async (s) => {
  await s.start()
  await s.hue(DOG)
  await s.take(DRAGON)
  await s.hue(DRAGON)
  const latency = await until(
    'the latency is shown',
    async () => Number.parseFloat(await s.tid('latency-value').textContent()) || null,
    3000,
  )
  assert.ok(latency > 0 && latency < 2 * SLOW, `${latency} s`)
  assert.equal(await s.prompt().evaluate((node) => node === document.activeElement), true)
})

story('8: a chip changes prompt, takes and picture together', async (s) => {
  await s.start()
  await s.hue(DOG)
  await s
    .tid('prompt-chip')
    .getByText(DRAGON)
    .click()
    .catch(() => s.page.getByText(DRAGON).first().click())
  await s.hue(DRAGON)
  assert.equal(await s.prompt().inputValue(), DRAGON)
  const blocks = await s.blocks()
  assert.deepEqual(
    blocks.map(({ text }) => text),
    [DOG, DRAGON],
  )
  assert.deepEqual(
    blocks.map(({ live }) => live),
    [false, true],
  )
})

story('9: Shift+Enter is a new line, Esc goes back to what is on air', async (s) => {
  await s.start()
  const before = await s.sentCount()
  await s.prompt().fill('a draft')
  await s.prompt().press('Shift+Enter')
  await s.prompt().pressSequentially('of two lines')
  assert.equal(await s.prompt().inputValue(), 'a draft\nof two lines')
  await sleep(500)
  const prompts = (await s.sent(before)).filter((message) => 'prompts' in message || 'transition' in message)
  assert.deepEqual(prompts, [])
  await s.prompt().press('Escape')
  assert.equal(await s.prompt().inputValue(), DOG)
  await s.hue(DOG)
})

story('10: two prompts blend by weight', async (s) => {
  await s.start()
  await s.tid('add-prompt').click()
  await s.prompt(1).fill(DRAGON)
  await s.prompt(1).press('Enter')
  const weights = async () => (await s.page.locator('[data-testid^="weight-value-"]').allInnerTexts()).map(Number)
  assert.deepEqual(await weights(), [50, 50])
  await s.colour([
    [DOG, 50],
    [DRAGON, 50],
  ])

  const thumb = s.tid('crossfader')
  const track = await thumb.locator('xpath=ancestor::*[@data-orientation][last()]').boundingBox()
  const from = await thumb.boundingBox()
  const y = from.y + from.height / 2
  await s.page.mouse.move(from.x + from.width / 2, y)
  await s.page.mouse.down()
  for (let share = 50; share >= 20; share -= 5) {
    await s.page.mouse.move(track.x + 5 + ((track.width - 10) * share) / 100, y)
    assert.equal(
      (await weights()).reduce((a, b) => a + b),
      100,
    )
  }
  await s.page.mouse.up()
  const [dragged] = await weights()
  assert.ok(Math.abs(dragged - 80) <= 3, `dragged to ${dragged}`)
  for (let i = dragged; i < 80; i++) await thumb.press('ArrowLeft')
  for (let i = dragged; i > 80; i--) await thumb.press('ArrowRight')
  assert.deepEqual(await weights(), [80, 20])
  await s.colour([
    [DOG, 80],
    [DRAGON, 20],
  ])

  await s.page.getByRole('button', { name: 'Lock weight of prompt 1' }).click()
  await s.tid('add-prompt').click()
  await s.prompt(2).fill(COW)
  await s.prompt(2).press('Enter')
  for (let i = 0; i < 5; i++) {
    await s.tid('weight-2').press('ArrowRight')
    const now = await weights()
    assert.equal(now[0], 80)
    assert.equal(
      now.reduce((a, b) => a + b),
      100,
    )
  }
  const [, second, third] = await weights()
  await s.colour([
    [DOG, 80],
    [DRAGON, second],
    [COW, third],
  ])
})

/** How far a colour is from A (0) to B (1). */
function progress(rgb, a, b) {
  const span = b.map((value, c) => value - a[c])
  const length = span.reduce((sum, value) => sum + value * value, 0)
  return rgb.reduce((sum, value, c) => sum + (value - a[c]) * span[c], 0) / length
}

async function steps(s, wanted) {
  const slider = s.tid('transition-steps')
  const value = async () => Number(await slider.getAttribute('aria-valuenow'))
  for (let i = 0; i < 20 && (await value()) !== wanted; i++) {
    await slider.press((await value()) < wanted ? 'ArrowRight' : 'ArrowLeft')
  }
  assert.equal(await value(), wanted)
}

story('11: a transition is monotone and takes its chunks; none is a cut', async (s) => {
  const frames = 3
  const [a, b] = [DOG, DRAGON].map((text) => cardColour([[text, 1]]))
  await s.start()
  await steps(s, 8)
  await s.hue(DOG)
  const soft = await s.watching(async () => {
    await s.take(DRAGON)
    await s.hue(DRAGON, 4000 * SLOW)
    await sleep(300)
  })
  const way = soft.map(({ rgb, counter }) => ({ at: progress(rgb, a, b), chunk: Math.floor(counter / frames) }))
  for (const [i, { at }] of way.slice(1).entries()) {
    assert.ok(at >= way[i].at - 0.05, `goes back from ${way[i].at} to ${at}`)
  }
  const first = way.find(({ at }) => at > 0.07)
  const last = way.find(({ at }) => at > 0.95)
  const took = last.chunk - first.chunk + 1
  assert.ok(Math.abs(took - 8) <= 1, `took ${took} chunks: ${JSON.stringify(way)}`)

  await steps(s, 0)
  const hard = await s.watching(async () => {
    await s.take(DOG)
    await s.hue(DOG)
    await sleep(500)
  })
  const between = hard.filter(({ rgb }) => {
    const at = progress(rgb, a, b)
    return at > 0.07 && at < 0.93
  })
  assert.ok(between.length <= frames, `${between.length} frames between: ${JSON.stringify(between)}`)
})

story('12: a hard cut restarts the counter, a plain take does not', async (s) => {
  await s.start()
  await until('the counter is well under way', async () => (await s.counter()) > 45, 10_000)
  const soft = await s.watching(async () => {
    await s.take(DRAGON)
    await s.hue(DRAGON)
    await sleep(500)
  })
  const counters = soft.map(({ counter }) => counter)
  assert.ok(counters.length > 2)
  for (const [i, counter] of counters.slice(1).entries()) assert.ok(counter >= counters[i], `${counters}`)
  const before = await s.counter()
  await s.take(COW, 'Alt+Enter')
  await s.hue(COW)
  const now = await s.counter()
  assert.ok(now < before, `${before} → ${now}`)
  assert.ok(apart(await s.rgb(), cardColour([[COW, 1]])) <= 20)
})

story('13a: earlier prompts are found again, and go into the deck, which has banks', async (s) => {
  await s.start()
  for (const text of [DRAGON, COW, DOG]) await s.take(text)
  await s.prompt().fill('')
  await s.prompt().press('ArrowUp')
  const search = s.tid('history-search')
  await search.waitFor()
  const items = () => s.tid('history-item').allInnerTexts()
  assert.deepEqual(await items(), [DOG, COW, DRAGON])
  await search.fill('clouds dragon')
  await until('only what was looked for is shown', async () => (await items()).join() === DRAGON)

  // By pointer onto a slot, by keyboard into the box.
  await s.tid('history-item').dragTo(s.tid('deck-slot-3'))
  await until('the slot has it', async () => /dragon/.test(await s.tid('deck-slot-3').textContent()))
  await search.press('ArrowDown')
  await s.page.keyboard.press('Enter')
  await search.waitFor({ state: 'detached' })
  assert.equal(await s.prompt().inputValue(), DRAGON)
  await until('the box has the focus', () => s.prompt().evaluate((node) => node === document.activeElement))

  await s.tid('deck-bank-B').click()
  assert.equal(await s.tid('deck-slot-3').getAttribute('data-state'), 'empty')
  await s.tid('deck-slot-1').click()
  await s.tid('deck-bank-A').click()
  await s.tid('deck-slot-3').click()
  await s.hue(DRAGON)
  await s.page.reload()
  await s.tid('deck-bank-B').click()
  assert.match(await s.tid('deck-slot-1').textContent(), /dragon/)
  assert.match(await s.tid('deck-bank-A').getAttribute('aria-label'), /^Bank A$/)

  await s.prompt().fill('word '.repeat(600))
  assert.match(await s.tid('tokens').textContent(), /600 tokens.*512/)
})
