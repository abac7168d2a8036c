import assert from 'node:assert/strict'
import { cardColour, hue, hueDistance, hueOf } from './card.mjs'
import { TOKEN } from './server.mjs'
import { SLOW, sleep, until } from './wait.mjs'

export const DOG = 'a dog walking in grass'
export const HUE_TOLERANCE = 6
export const RGB_TOLERANCE = 14

/** A page of the product, and what a user does and sees in it. */
export class Story {
  constructor({ page, context, requests, server, browser, folder }) {
    Object.assign(this, { page, context, requests, server, browser, folder })
  }

  tid(id) {
    return this.page.locator(`[data-testid="${id}"]`)
  }

  async open(page = this.page) {
    await page.goto(`${this.server.origin}/?token=${TOKEN}`)
    await page.locator('[data-testid="start-stream-button"]:enabled').waitFor()
  }

  /** Requests to the server so far whose method and path match. */
  sentTo(method, path) {
    return this.requests.filter((request) => request.method() === method && new URL(request.url()).pathname === path)
      .length
  }

  loads() {
    return this.sentTo('POST', '/api/v1/pipeline/load')
  }

  offers() {
    return this.sentTo('POST', '/api/v1/webrtc/offer')
  }

  async choose(testId, option) {
    await this.tid(testId).click()
    const popup = this.page.locator('[data-radix-popper-content-wrapper]')
    await popup.getByRole('option', { name: option }).first().click()
    await popup.getByRole('listbox').waitFor({ state: 'detached' })
  }

  pipeline(name) {
    return this.choose('pipeline-select', name)
  }

  mode(name) {
    return this.tid('mode-toggle').getByText(name, { exact: true }).click()
  }

  source(name) {
    return this.tid('source-kind').getByText(name, { exact: true }).click()
  }

  currentState() {
    return this.tid('stream-state').getAttribute('data-state')
  }

  /** Waits for a state of the session; an error card on the way is a failure with its text. */
  async state(wanted, ms = 15_000) {
    await until(
      `the session becomes ${wanted}`,
      async () => {
        const state = await this.currentState()
        if (state === 'failed' && wanted !== 'failed') {
          const text = await this.page.locator('section[aria-label="Stage"]').textContent()
          throw new Error(`the session failed: ${text}`)
        }
        return state === wanted
      },
      ms,
      () => this.currentState(),
    )
  }

  /** Starts with a pipeline and mode; the test card in text mode unless told otherwise. */
  async start({ pipeline = 'Test card', mode = 'Text' } = {}) {
    await this.pipeline(pipeline)
    if (mode && pipeline === 'Test card') await this.mode(mode)
    await this.tid('start-stream-button').click()
    await this.state('live', 20_000)
  }

  async stop() {
    await this.tid('stop-button').click()
    await this.state('idle')
  }

  prompt(index = 0) {
    return this.tid(`prompt-input-${index}`)
  }

  async take(text, key = 'Enter') {
    await this.prompt().fill(text)
    await this.prompt().press(key)
  }

  eval(body, argument) {
    return this.page.evaluate(body, argument)
  }

  px(id = 'stage-video', middle = false) {
    return this.eval(([id, middle]) => window.e2e.px(id, middle), [id, middle])
  }

  async rgb(id = 'stage-video') {
    return (await this.px(id, true))?.rgb ?? [0, 0, 0]
  }

  motion(id = 'stage-video', ms = 400) {
    return this.eval(([id, ms]) => window.e2e.motion(id, ms), [id, ms])
  }

  counter() {
    return this.eval(() => window.e2e.counter('stage-video'))
  }

  /** The stage's hue becomes the prompt's. */
  hue(text, ms = 1500 * SLOW) {
    return until(
      `the stage shows the hue of “${text}” (${hueOf(text)})`,
      async () => hueDistance(hue(await this.rgb()), hueOf(text)) <= HUE_TOLERANCE,
      ms,
      async () => {
        const rgb = await this.rgb()
        return { rgb, hue: hue(rgb) }
      },
    )
  }

  /** The stage's colour becomes that of weighted prompts. */
  colour(prompts, noise = 0.7, ms = 1500 * SLOW) {
    return this.nearly(cardColour(prompts, noise), ms)
  }

  nearly(wanted, ms = 2000 * SLOW, id = 'stage-video', tolerance = RGB_TOLERANCE) {
    return until(
      `${id} is rgb(${wanted.map(Math.round)})`,
      async () => (await this.rgb(id)).every((value, c) => Math.abs(value - wanted[c]) <= tolerance),
      ms,
      () => this.rgb(id),
    )
  }

  blocks() {
    return this.tid('timeline-block').evaluateAll((nodes) =>
      nodes.map((node) => ({
        text: node.title,
        start: Number(node.dataset.start),
        end: node.dataset.end === '' ? null : Number(node.dataset.end),
        live: node.dataset.live === 'true',
      })),
    )
  }

  /** The clock of the takes in seconds. */
  async time() {
    const [minutes, seconds] = (await this.tid('timeline-time').textContent()).split(':')
    return Number(minutes) * 60 + Number(seconds)
  }

  /** Width and height of the picture on the stage. */
  size() {
    return this.eval(() => {
      const { videoWidth, videoHeight } = document.querySelector('[data-testid="stage-video"]')
      return [videoWidth, videoHeight]
    })
  }

  async fps() {
    return Number(await this.tid('fps-value').textContent())
  }

  /** Messages sent over the data channel since `from`. */
  sent(from = 0) {
    return this.eval((from) => window.e2e.sent.slice(from), from)
  }

  sentCount() {
    return this.eval(() => window.e2e.sent.length)
  }

  inject(message) {
    return this.eval((message) => window.e2e.inject(message), message)
  }

  /** Leaves the prompt box, so that single keys are commands. */
  async leaveBox() {
    await this.prompt().press('Escape')
    const inside = await this.eval(() => document.activeElement?.tagName === 'TEXTAREA')
    assert.equal(inside, false, 'Escape leaves a prompt box in which nothing is to be reverted')
  }

  /** Logs every presented frame of the stage while `body` runs. */
  async watching(body) {
    const handle = await this.page.evaluateHandle(() => window.e2e.watch('stage-video'))
    await body()
    return handle.evaluate((watch) => watch.stop())
  }

  /** The picture goes on: its counter grows. */
  async moves(ms = 2000 * SLOW) {
    const first = await this.counter()
    await until('the counter in the picture goes on', async () => (await this.counter()) !== first, ms)
  }

  sleep(ms) {
    return sleep(ms)
  }
}
