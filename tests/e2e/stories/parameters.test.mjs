import assert from 'node:assert/strict'
import { DOG } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const { story } = suite()

story('30: a dragged parameter is followed and not flooded; a load parameter waits', async (s) => {
  await s.start()
  await s.colour([[DOG, 1]], 0.7)
  const thumb = s.tid('param-noise_scale')
  const track = await thumb.locator('xpath=ancestor::*[@data-orientation][last()]').boundingBox()
  const from = await thumb.boundingBox()
  const y = from.y + from.height / 2
  const to = track.x + track.width * 0.1
  const before = await s.sentCount()
  await s.page.mouse.move(from.x + from.width / 2, y)
  await s.page.mouse.down()
  const begun = Date.now()
  for (let part = 0; part <= 1; part = (Date.now() - begun) / 1000) {
    await s.page.mouse.move(from.x + (to - from.x) * part, y)
  }
  const took = (Date.now() - begun) / 1000
  await s.page.mouse.move(to, y)
  await s.page.mouse.up()
  await sleep(200)
  const sent = (await s.sent(before)).filter((message) => 'noise_scale' in message)
  const shown = Number(await thumb.getAttribute('aria-valuenow'))
  assert.ok(sent.length >= 5 && sent.length <= 35 * Math.max(1, took), `${sent.length} messages in ${took} s`)
  assert.equal(sent.at(-1).noise_scale, shown)
  assert.ok(shown < 0.3, `dragged to ${shown}`)
  await s.colour([[DOG, 1]], shown)

  const loads = s.loads()
  await s.tid('param-width').fill('448')
  await s.tid('param-width').press('Enter')
  await s.tid('pending-bar').waitFor()
  await sleep(500)
  assert.equal(s.loads(), loads, 'nothing reloads by itself')
  assert.equal(await s.currentState(), 'live')
  await s.tid('apply-reload').click()
  await until('the new size is on the stage', async () => (await s.size())[0] === 448, 5000 * SLOW)
  await s.state('live')
  assert.equal(s.loads(), loads + 1)
  assert.equal(await s.tid('pending-bar').count(), 0)
  await s.colour([[DOG, 1]], shown)
})

story('31: a width off the grid is corrected, said and used', async (s) => {
  await s.pipeline('Test card')
  await s.mode('Text')
  const width = s.tid('param-width')
  await width.fill('577')
  await width.press('Enter')
  assert.equal(await width.inputValue(), '576')
  const hint = await width.evaluate(
    (node) => document.getElementById(node.getAttribute('aria-describedby'))?.textContent,
  )
  assert.match(hint, /577.*16.*576/)
  await width.press('ArrowUp')
  assert.equal(await width.inputValue(), '592')
  await width.press('ArrowDown')
  assert.equal(await width.inputValue(), '576')
  await s.tid('start-stream-button').click()
  await s.state('live')
  await until('the video is 576 wide', async () => (await s.size())[0] === 576)
})

story('32: a change by another program moves the slider', async (s) => {
  await s.start()
  await sleep(500)
  await s.server.api('/api/v1/session/parameters', { method: 'POST', json: { noise_scale: 0.25 } })
  const thumb = s.tid('param-noise_scale')
  await until(
    'the slider moves',
    async () => (await thumb.getAttribute('aria-valuenow')) === '0.25',
    500 * SLOW,
    () => thumb.getAttribute('aria-valuenow'),
  )
  await s.colour([[DOG, 1]], 0.25)
})
