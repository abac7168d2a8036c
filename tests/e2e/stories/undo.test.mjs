import assert from 'node:assert/strict'
import { DOG } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import { COW, texts } from '../lib/timeline.mjs'
import { SLOW, until } from '../lib/wait.mjs'

const { story } = suite()
const NOISE = 0.7

const noise = async (s) => Number(await s.tid('param-noise_scale').getAttribute('aria-valuenow'))
const undoLabel = (s) => s.tid('timeline-undo').getAttribute('aria-label')
const undo = (s) => s.page.keyboard.press('Control+z')
const redo = (s) => s.page.keyboard.press('Control+Shift+z')
const becomes = (s, value) =>
  until(
    `the slider is at ${value}`,
    async () => Math.abs((await noise(s)) - value) < 0.001,
    2000 * SLOW,
    () => noise(s),
  )

/** Drags the slider from where it is by a part of its track, in many small movements. */
async function dragNoise(s, by) {
  const { x, y, width, height } = await s.tid('param-noise_scale').boundingBox()
  const track = await s.tid('param-noise_scale').locator('xpath=ancestor::*[@data-orientation][last()]').boundingBox()
  await s.page.mouse.move(x + width / 2, y + height / 2)
  await s.page.mouse.down()
  for (let i = 1; i <= 30; i++) {
    await s.page.mouse.move(x + width / 2 + (track.width * by * i) / 30, y + height / 2)
    // A drag may rest; it is one drag nevertheless.
    if (i === 15) await s.sleep(1300)
  }
  await s.page.mouse.up()
  return noise(s)
}

story('a drag of a slider is one step, and the picture follows it back and forth', async (s) => {
  await s.start()
  await s.hue(DOG)
  const low = await dragNoise(s, -0.5)
  assert.ok(low < 0.4, `${low}`)
  await s.colour([[DOG, 100]], low)
  assert.equal(await undoLabel(s), 'Undo: Noise Scale')
  const high = await dragNoise(s, 0.4)
  assert.ok(high > low)
  await s.colour([[DOG, 100]], high)
  await undo(s)
  await becomes(s, low)
  await s.colour([[DOG, 100]], low)
  await undo(s)
  await becomes(s, NOISE)
  await s.colour([[DOG, 100]], NOISE)
  assert.equal(await undoLabel(s), 'Undo: Change of mode', 'both drags were two steps')
  await redo(s)
  await redo(s)
  await becomes(s, high)
  await s.colour([[DOG, 100]], high)

  // Keys that follow each other at once are one step as well, and a reset is another.
  await s.tid('param-noise_scale').focus()
  for (let i = 0; i < 6; i++) await s.page.keyboard.press('ArrowLeft')
  const stepped = await noise(s)
  assert.ok(stepped < high)
  await s.page.getByRole('button', { name: 'Reset Noise Scale to its default' }).click()
  await becomes(s, NOISE)
  await undo(s)
  await becomes(s, stepped)
  await undo(s)
  await becomes(s, high)
  // Takes are no steps, and stay.
  await s.take(COW)
  await s.hue(COW)
  await s.leaveBox()
  await undo(s)
  await becomes(s, low)
  assert.deepEqual(await texts(s), [DOG, COW])
})

story('undo leaves alone what another controller has changed since', async (s) => {
  await s.start()
  await s.hue(DOG)
  const mine = await dragNoise(s, -0.3)
  const width = s.tid('param-width')
  await width.fill('256')
  await width.press('Enter')
  // A hand that has just been on the control wins.
  await s.sleep(400)
  await s.server.api('/api/v1/session/parameters', { method: 'POST', json: { noise_scale: 0.95 } })
  await becomes(s, 0.95)
  assert.notEqual(mine, 0.95)
  await undo(s)
  assert.equal(await width.inputValue(), '512')
  await undo(s)
  await becomes(s, 0.95)
  await s.colour([[DOG, 100]], 0.95)
  // What was changed here in between is one step, without the other's value in it.
  const next = await dragNoise(s, -0.2)
  await undo(s)
  await becomes(s, 0.95)
  await redo(s)
  await becomes(s, next)
})

story('presets, processors and what was discarded come back', async (s) => {
  await s.start()
  await s.hue(DOG)
  const before = await s.sentCount()
  await s.choose('add-after', 'Color')
  await s.tid('pending-bar').waitFor()
  assert.equal(await undoLabel(s), 'Undo: Add Color')
  await s.page.getByRole('button', { name: 'Discard' }).click()
  await s.tid('pending-bar').waitFor({ state: 'detached' })
  await undo(s)
  await s.tid('pending-bar').waitFor()
  assert.equal(await s.tid('node-after:color').count(), 1)
  await s.page.getByRole('button', { name: 'Remove Color' }).click()
  assert.equal(await s.tid('node-after:color').count(), 0)
  await undo(s)
  assert.equal(await s.tid('node-after:color').count(), 1)
  await undo(s)
  assert.equal(await s.tid('node-after:color').count(), 0)
  assert.equal(await s.tid('pending-bar').count(), 0)
  assert.equal((await s.sent(before)).length, 0, 'the stream has heard nothing of it')
  assert.equal(await s.currentState(), 'live')

  const low = await dragNoise(s, -0.5)
  await s.page.keyboard.press('l')
  await s.tid('library').getByRole('tab', { name: 'Presets' }).click()
  await s.tid('preset-name').fill('Dark')
  await s.tid('save-preset').click()
  const preset = s.tid('preset').filter({ hasText: 'Dark' })
  await preset.waitFor()
  // The drawer lies over the parameters.
  await s.page.keyboard.press('Escape')
  const high = await dragNoise(s, 0.6)
  await s.page.keyboard.press('l')
  await preset.getByRole('button', { name: 'Apply Dark' }).click()
  await becomes(s, low)
  await s.colour([[DOG, 100]], low)
  await s.page.keyboard.press('Escape')
  await undo(s)
  await becomes(s, high)
  await s.colour([[DOG, 100]], high)
  assert.equal(s.loads(), 1)
})
