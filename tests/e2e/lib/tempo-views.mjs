import { sleep } from './wait.mjs'

/** Pictures of musical time, for looking at. */

const PHONE = 768

/** Starts what a newcomer gets, on a wide page, where everything is within reach, with a tempo. */
async function playing(s, [width, height], { bpm = 96, grid = '4 bars', countIn } = {}) {
  await s.page.setViewportSize({ width: 1440, height: 900 })
  await s.tid('tempo-button').click()
  await s.tid('tempo-on').click()
  await s.tid('tempo-input').fill(String(bpm))
  await s.tid('tempo-input').press('Enter')
  await s.tid('tempo-quantize').getByText(grid, { exact: true }).click()
  if (countIn) await s.tid('tempo-count-in').getByText(countIn, { exact: true }).click()
  await s.page.keyboard.press('Escape')
  await s.tid('start-stream-button').click()
  await s.state('live', 60_000)
  await s.page.setViewportSize({ width, height })
}

async function tab(s, name, [width]) {
  if (width < PHONE) await s.page.getByRole('tab', { name }).click()
}

export const TEMPO_VIEWS = {
  /** Everything about the tempo, with something that swings. */
  async tempo(s, size) {
    await playing(s, [1440, 900])
    await s.tid('param-noise_scale').click({ button: 'right' })
    await s.page.getByRole('menuitem', { name: 'Modulate with the beat' }).click()
    await s.tid('swing-editor').waitFor()
    await s.page.setViewportSize({ width: size[0], height: size[1] })
    await sleep(500)
    await s.tid('tempo-button').click()
    await s.tid('swing-entry').waitFor()
    await sleep(1500)
  },
  /** A take that waits, a parameter that swings, bars in the timeline. */
  async swing(s, size) {
    await playing(s, size)
    await tab(s, 'Tune', size)
    const inspector = s.page.getByRole('button', { name: 'Parameters panel' })
    if (await inspector.isVisible()) await inspector.click()
    await s.tid('param-noise_scale').click({ button: 'right' })
    await s.page.getByRole('menuitem', { name: 'Modulate with the beat' }).click()
    await sleep(2500)
    await s.take('a robot walking on mars')
    await s.tid('swing-editor').scrollIntoViewIfNeeded()
    await sleep(1200)
  },
  /** A take and a slot of the deck that wait. */
  async waiting(s, size) {
    await playing(s, size, { bpm: 60 })
    await tab(s, 'Deck', size)
    await s.prompt().fill('a robot walking on mars')
    await s.prompt().press('Control+Enter')
    await s.prompt().press('Enter')
    await sleep(3000)
  },
  /** The takes of a phone with bars. */
  async bars(s, size) {
    await playing(s, size, { grid: 'Bar' })
    await tab(s, 'Takes', size)
    for (const text of ['a robot walking on mars', 'a dragon flying through clouds']) {
      await sleep(2500)
      await s.take(text)
    }
    await sleep(4000)
  },
  async counting(s, size) {
    await playing(s, size, { bpm: 40, countIn: '2 bars' })
    await s.tid('count-in').waitFor()
    await sleep(1500)
  },
}
