import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { apart, hue, hueDistance, hueOf, luma } from '../lib/card.mjs'
import { meanColour, pngSize, probe } from '../lib/media.mjs'
import { DOG, HUE_TOLERANCE } from '../lib/story.mjs'
import { inspect, suite } from '../lib/suite.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const { story } = suite()
const DRAGON = 'a dragon flying through clouds'

story('38: full screen, the output window and its blackout', async (s) => {
  await s.start()
  await s.leaveBox()
  await s.page.keyboard.press('f')
  await until('the stage is full screen', () =>
    s.eval(() => document.fullscreenElement?.querySelector('[data-testid="stage-video"]') != null),
  )
  assert.equal(await s.eval(() => document.fullscreenElement.getAttribute('aria-label')), 'Stage')
  await s.page.keyboard.press('f')
  await until('full screen ends', () => s.eval(() => document.fullscreenElement === null))

  const opened = s.page.waitForEvent('popup')
  await s.page.keyboard.press('o')
  const popup = await opened
  await popup.locator('[data-testid="output-video"]').waitFor()
  await until('the output window shows a picture', () =>
    popup.evaluate(() => document.querySelector('video').videoWidth > 0),
  )
  const compare = () =>
    popup.evaluate(() => {
      const mine = window.e2e.counter('output-video')
      const theirs = window.opener.e2e.counter('stage-video')
      const [a, b] = [window.e2e.px('output-video', true).rgb, window.opener.e2e.px('stage-video', true).rgb]
      const same =
        document.querySelector('video').srcObject ===
        window.opener.document.querySelector('[data-testid="stage-video"]').srcObject
      return { mine, theirs, same, colours: [a, b] }
    })
  const seen = await until(
    'both windows show the same frame',
    async () => {
      const now = await compare()
      return Math.abs(now.mine - now.theirs) <= 1 ? now : null
    },
    5000,
    compare,
  )
  assert.ok(seen.same, 'it is the same stream')
  assert.ok(apart(...seen.colours) <= 6)
  assert.equal(s.offers(), 1)

  await s.page.bringToFront()
  await s.page.keyboard.press('b')
  const black = async () => luma(meanColour(await popup.screenshot(), { crop: null }))
  await until('the output window is black', async () => (await black()) < 5, 5000, black)
  await s.moves()
  await s.hue(DOG)
  assert.equal(await s.currentState(), 'live')
  await s.page.keyboard.press('b')
  await until('the output window is back', async () => (await black()) > 20, 5000, black)
  assert.equal(s.offers(), 1)
  await popup.close()
})

story('38b: the output window turns, mirrors, fills, shows bars and goes to another display', async (s) => {
  await s.context.addInitScript(() => {
    const screens = [
      { label: 'Laptop', isPrimary: true, width: 1440, height: 900 },
      { label: 'Projector', isPrimary: false, width: 1920, height: 1080 },
    ]
    window.getScreenDetails = async () => ({ screens })
    Element.prototype.requestFullscreen = async (options) => {
      window.filled = options?.screen?.label ?? 'this'
    }
  })
  await s.start()
  await s.leaveBox()
  const opened = s.page.waitForEvent('popup')
  await s.page.keyboard.press('o')
  const popup = await opened
  await popup.setViewportSize({ width: 800, height: 400 })
  await until('it shows a picture', () => popup.evaluate(() => document.querySelector('video').videoWidth > 0))
  const tool = (name) => popup.getByRole('button', { name, exact: typeof name === 'string' }).click()
  const hide = () =>
    popup.locator('[role="toolbar"]').evaluate((node) => node.style.setProperty('visibility', 'hidden'))
  const show = () => popup.locator('[role="toolbar"]').evaluate((node) => node.style.removeProperty('visibility'))
  /** Mean colour of a part of the window, in fractions of it. */
  const part = async (x, y, w, h) => {
    await hide()
    const png = await popup.screenshot()
    await show()
    return meanColour(png, { crop: `${w}*iw:${h}*ih:${x}*iw:${y}*ih` })
  }
  const dark = async (...where) => luma(await part(...where)) < 8
  const soon = (what, check) => until(what, check, 4000 * SLOW)

  // A square picture in a wide window: beside it is black until it fills or is stretched.
  await soon('fitted', async () => (await dark(0, 0.2, 0.2, 0.3)) && !(await dark(0.4, 0.2, 0.2, 0.3)))
  await tool('Stretch')
  await soon('stretched', async () => !(await dark(0, 0.2, 0.2, 0.3)))
  // The counter of the test card is its bottom row: black and white cells, which lie where the picture is turned to.
  const cells = async (...where) => apart(await part(...where), await part(0.45, 0.4, 0.1, 0.1)) > 30
  await soon('the counter is at the bottom', () => cells(0.01, 0.96, 0.2, 0.03))
  await tool('Turn 0°')
  await soon('the counter is on the left', () => cells(0.005, 0.02, 0.02, 0.2))
  await tool('Turn 90°')
  await soon('the counter is at the top', () => cells(0.75, 0.01, 0.24, 0.03))
  await tool('Upside down')
  await soon('the counter is at the bottom again', () => cells(0.75, 0.96, 0.24, 0.03))

  await tool('Colour bars')
  // Half a turn, mirrored upside down: left and right are exchanged, so blue is on the left.
  await soon('blue is on the left', async () => {
    const [r, g, b] = await part(0.12, 0.12, 0.02, 0.1)
    const [r2, g2, b2] = await part(0.01, 0.12, 0.1, 0.1)
    return b2 > 150 && r2 < 40 && g2 < 40 && (b > 150 || r > 100) && g < 60
  })
  await tool('Colour bars')
  await tool('Fade 0.5 s')
  await tool('Blackout')
  await soon('it fades to black', () => dark(0.1, 0.1, 0.8, 0.5))
  await tool('Blackout')

  await tool('Displays…')
  await tool(/Projector/)
  assert.equal(await popup.evaluate(() => window.filled), 'Projector')
  assert.deepEqual(await inspect(popup, 'output'), [])
  await popup.close()
  await until('the page knows', () => s.eval(() => window.scopeOutput.store.getState().open === false))

  // The projector stays where it is: the next window is placed as this one was.
  const again = s.page.waitForEvent('popup')
  await s.page.keyboard.press('o')
  const second = await again
  await second.getByRole('button', { name: 'Turn 180°' }).waitFor()
  await second.close()
  assert.equal(s.offers(), 1)
})

story('39: a recording is an MP4 of what was on stage', async (s) => {
  await s.start()
  await s.take(DRAGON)
  await s.hue(DRAGON)
  const fps = await s.eval(() => window.e2e.vfps('stage-video', 2))
  await s.tid('record-button').click()
  await until('it records', async () => (await s.tid('record-button').getAttribute('data-state')) === 'on')
  await sleep(5000)
  const saved = s.page.waitForEvent('download', { timeout: 30_000 })
  await s.tid('record-button').click()
  const download = await saved
  assert.match(download.suggestedFilename(), /\.mp4$/)
  const calls = s.requests.filter((request) => request.url().includes('/api/v1/recordings/'))
  const answers = await Promise.all(calls.map(async (call) => (await call.response())?.status()))
  assert.deepEqual(answers, [200, 200], 'the server recorded')
  const file = join(s.folder, 'recording.mp4')
  await download.saveAs(file)
  const clip = probe(file)
  assert.ok(clip.seconds >= 4 && clip.seconds <= 6.5, `${clip.seconds} s`)
  assert.deepEqual([clip.width, clip.height], await s.size())
  const expected = clip.seconds * Math.min(15, fps)
  assert.ok(clip.frames >= 0.8 * expected, `${clip.frames} frames, ${expected} expected`)
  const middle = hue(meanColour(file, { at: clip.seconds / 2 }))
  assert.ok(hueDistance(middle, hueOf(DRAGON)) <= HUE_TOLERANCE, `hue ${middle}, ${hueOf(DRAGON)} expected`)
  assert.equal(await s.currentState(), 'live')
})

story('40: a screenshot is the picture, in its own size', async (s) => {
  await s.start()
  await s.hue(DOG)
  await s.leaveBox()
  // A held picture is the same picture a moment later.
  await s.page.keyboard.press('Space')
  await s.state('paused')
  await sleep(500 * SLOW)
  const [download] = await Promise.all([s.page.waitForEvent('download'), s.tid('screenshot-button').click()])
  assert.match(download.suggestedFilename(), /\.png$/)
  const png = readFileSync(await download.path())
  assert.deepEqual(pngSize(png), await s.size())
  const { rgb } = await s.px()
  const mean = meanColour(png, { crop: null })
  assert.ok(apart(mean, rgb) <= 3, `${mean} in the file, ${rgb} on the stage`)
})
