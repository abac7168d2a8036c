import assert from 'node:assert/strict'
import { DOG } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const { story } = suite()
const COW = 'a cow walking in grass'
const DRAGON = 'a dragon flying through clouds'

story('13: a deck slot is one key away, except while typing', async (s) => {
  await s.start()
  await s.prompt().fill(DRAGON)
  await s.tid('deck-slot-2').click()
  await s.prompt().press('Escape')
  await s.leaveBox()
  await s.hue(DOG)
  await s.page.keyboard.press('2')
  await s.hue(DRAGON)
  assert.equal(await s.prompt().inputValue(), DRAGON)
  await s.prompt().press('End')
  await s.prompt().pressSequentially('2')
  assert.equal(await s.prompt().inputValue(), `${DRAGON}2`)
  await s.prompt().press('Escape')
})

story('14: takes follow each other without gaps, at the time they were made', async (s) => {
  await s.start()
  const wall = []
  for (const text of [COW, DRAGON]) {
    await sleep(2500)
    await s.prompt().fill(text)
    wall.push(Date.now())
    await s.prompt().press('Enter')
  }
  await sleep(1000)
  const blocks = await s.blocks()
  assert.deepEqual(
    blocks.map(({ text }) => text),
    [DOG, COW, DRAGON],
  )
  assert.deepEqual(
    blocks.map(({ live }) => live),
    [false, false, true],
  )
  for (const [i, { end }] of blocks.slice(0, -1).entries()) assert.equal(end, blocks[i + 1].start)
  assert.ok(blocks.every(({ start, end }) => end === null || end - start >= 100))
  const between = blocks[2].start - blocks[1].start
  assert.ok(Math.abs(between - (wall[1] - wall[0])) <= 200, `${between} ms, ${wall[1] - wall[0]} ms on the wall`)
  const width = () =>
    s
      .tid('timeline-block')
      .last()
      .evaluate((node) => node.getBoundingClientRect().width)
  const before = await width()
  await until('the live take grows', async () => (await width()) > before + 5, 2000)
})

story('15: a take right after the first frame loses neither prompt', async (s) => {
  await s.pipeline('Test card')
  await s.mode('Text')
  const taken = s.eval(
    ([text]) =>
      new Promise((resolve) => {
        const video = document.querySelector('[data-testid="stage-video"]')
        video.requestVideoFrameCallback((shown) => {
          setTimeout(() => {
            const box = document.querySelector('[data-testid="prompt-input-0"]')
            Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value').set.call(box, text)
            box.dispatchEvent(new Event('input', { bubbles: true }))
            box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }))
            resolve(performance.now() - shown)
          }, 40)
        })
      }),
    [DRAGON],
  )
  await s.tid('start-stream-button').click()
  assert.ok((await taken) < 100 * SLOW)
  await s.state('live')
  await s.hue(DRAGON)
  assert.deepEqual(
    (await s.blocks()).map(({ text }) => text),
    [DOG, DRAGON],
  )
})
