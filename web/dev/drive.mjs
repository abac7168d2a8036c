import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'
import { serve } from './serve.mjs'

/** Plays the built app against the in-page server and checks what happens. */
createRequire(import.meta.url)
const mock = new URL('./mock.js', import.meta.url).pathname
const { server, port } = await serve()
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--no-first-run',
    '--autoplay-policy=no-user-gesture-required',
    '--use-fake-ui-for-media-stream',
    '--use-fake-device-for-media-stream',
  ],
})
const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, acceptDownloads: true })
await context.addInitScript({ path: mock })
await context.addInitScript(() => localStorage.setItem('scopeTest', '1'))
const page = await context.newPage()
const errors = []
page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
page.on('pageerror', (error) => errors.push(error.message))

let failed = 0
const check = (name, ok, seen = '') => {
  if (!ok) failed += 1
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name} ${ok ? '' : JSON.stringify(seen)}`)
}
const tid = (id) => `[data-testid="${id}"]`
const text = (id) => page.textContent(tid(id))
const wait = (ms) => page.waitForTimeout(ms)
const state = (word, timeout = 15_000) =>
  page.waitForSelector(`${tid('stream-state')}[data-state="${word}"]`, { timeout })
const seen = (expression) => page.evaluate(expression)
const motion = (id, ms) =>
  page.evaluate(
    async ([selector, gap]) => {
      const video = document.querySelector(selector)
      const canvas = new OffscreenCanvas(64, 64)
      const context = canvas.getContext('2d', { willReadFrequently: true })
      const grab = () => {
        context.drawImage(video, 0, 0, 64, 64)
        return context.getImageData(0, 0, 64, 64).data
      }
      const a = grab()
      await new Promise((resolve) => setTimeout(resolve, gap))
      const b = grab()
      let sum = 0
      for (let i = 0; i < a.length; i += 4) sum += Math.abs(a[i] - b[i])
      return sum / (a.length / 4)
    },
    [tid(id), ms],
  )
const blocks = () =>
  page.$$eval(tid('timeline-block'), (nodes) =>
    nodes.map((node) => ({
      start: Number(node.dataset.start),
      end: node.dataset.end,
      live: node.dataset.live,
      title: node.title,
    })),
  )

await page.goto(`http://127.0.0.1:${port}/`)
await page.waitForSelector(`${tid('start-stream-button')}:enabled`)
check('first run: dog prompt', (await page.inputValue(tid('prompt-input-0'))) === 'a dog walking in grass')
await wait(800)
check('first run: the cat moves', (await motion('input-preview', 300)) > 1, await motion('input-preview', 300))

await seen(() => {
  window.words = []
  new MutationObserver(() =>
    window.words.push(document.querySelector('[data-testid="stream-state"]').dataset.state),
  ).observe(document.querySelector('[data-testid="stream-state"]'), {
    attributes: true,
    attributeFilter: ['data-state'],
  })
})
await page.click(tid('start-stream-button'))
await state('live')
check(
  'states in order',
  (await seen(() => window.words.join())) === 'checking,loading,connecting,waiting,live',
  await seen(() => window.words),
)
check('one load', (await seen(() => window.mock.state.loads)) === 1)
await wait(1500)
check('picture moves', (await motion('stage-video', 400)) > 1)
const fps = Number(await text('fps-value'))
check('fps is plausible', fps > 6 && fps < 16, fps)

await page.fill(tid('prompt-input-0'), 'a cow')
await page.press(tid('prompt-input-0'), 'Shift+Enter')
check('Shift+Enter is a newline', (await page.inputValue(tid('prompt-input-0'))).includes('\n'))
await page.press(tid('prompt-input-0'), 'Escape')
check('Escape reverts', (await page.inputValue(tid('prompt-input-0'))) === 'a dog walking in grass')
await page.fill(tid('prompt-input-0'), 'a cow')
await page.press(tid('prompt-input-0'), 'Enter')
await wait(1200)
check(
  'a take is sent with an id',
  await seen(() => window.mock.state.messages.some((m) => m._id && m.transition?.target_prompts[0].text === 'a cow')),
)
check('latency is shown', /^0\.\d\d s$|^1\.\d\d s$/.test(await text('latency-value')), await text('latency-value'))
check('focus stays', await seen(() => document.activeElement.dataset.testid === 'prompt-input-0'))
await page.press(tid('prompt-input-0'), 'Alt+Enter')
await wait(200)
check(
  'hard cut resets the cache',
  await seen(() => window.mock.state.messages.some((m) => m.reset_cache === true && m.prompts)),
)
const list = await blocks()
check(
  'takes are listed',
  list.map((b) => b.title).join() === 'a dog walking in grass,a cow,a cow' && list.at(-1).live === 'true',
  list,
)

await page.press(tid('prompt-input-0'), 'Control+Enter')
await page.click(`${tid('prompt-chip')} >> nth=3`)
await seen(() => document.activeElement.blur())
await page.keyboard.press('1')
await wait(200)
check('deck key takes', (await page.inputValue(tid('prompt-input-0'))) === 'a cow')
await page.focus(tid('prompt-input-0'))
await page.keyboard.press('End')
await page.keyboard.type('1')
check('deck key types in a text field', (await page.inputValue(tid('prompt-input-0'))) === 'a cow1')
await page.press(tid('prompt-input-0'), 'Escape')

await page.click(tid('add-prompt'))
await page.fill(tid('prompt-input-1'), 'a dragon')
await page.press(tid('prompt-input-1'), 'Enter')
await page.focus(tid('crossfader'))
for (let i = 0; i < 30; i++) await page.keyboard.press('ArrowLeft')
await wait(200)
const weights = [await text('weight-value-0'), await text('weight-value-1')]
check('weights sum to 100', weights.join() === '80,20', weights)
check(
  'weights act live',
  await seen(() => window.mock.state.messages.at(-1).prompts?.[0].weight === 80),
  await seen(() => window.mock.state.messages.at(-1)),
)
await page.click('button[aria-label="Remove prompt 2"]')

const before = await seen(() => window.mock.state.messages.length)
await page.focus(tid('param-noise_scale'))
for (let i = 0; i < 40; i++) await page.keyboard.press('ArrowLeft')
await wait(200)
const sent = await seen((from) => window.mock.state.messages.slice(from), before)
const values = await page.evaluate(
  (from) => window.mock.state.messages.slice(from).filter((m) => 'noise_scale' in m),
  before,
)
check(
  'a live parameter is sent, last value last',
  values.length > 0 && Math.abs(values.at(-1).noise_scale - 0.3) < 1e-9,
  sent?.length,
)

await seen(() => document.activeElement.blur())
await page.keyboard.press(' ')
await state('paused')
await wait(900)
check('pause freezes the picture', (await motion('stage-video', 500)) < 0.3)
const frozenAt = await text('timeline-time')
await wait(600)
check('pause freezes the clock', (await text('timeline-time')) === frozenAt)
await page.keyboard.press(' ')
await state('live')

const [popup] = await Promise.all([page.waitForEvent('popup'), page.keyboard.press('o')])
await popup.waitForSelector(tid('output-video'))
await wait(1200)
check(
  'output plays the same stream',
  await popup.evaluate(
    () =>
      document.querySelector('video').srcObject === opener.scopeOutput.store.getState().stream &&
      document.querySelector('video').videoWidth > 0,
  ),
)
await page.bringToFront()
await page.keyboard.press('b')
await wait(400)
check('blackout', (await popup.getAttribute(tid('output-black'), 'data-on')) === 'true')
check('no second offer', (await seen(() => window.mock.state.offers)) === 1)
await popup.close()

const [shot] = await Promise.all([page.waitForEvent('download'), page.click(tid('screenshot-button'))])
check('screenshot is a PNG', shot.suggestedFilename().endsWith('.png'), shot.suggestedFilename())
await page.click(tid('record-button'))
await page.waitForSelector(`${tid('record-button')}[data-state="on"]`)
await wait(600)
const [recording] = await Promise.all([page.waitForEvent('download'), page.click(tid('record-button'))])
check('recording downloads', recording.suggestedFilename().endsWith('.mp4'), recording.suggestedFilename())

await wait(500)
const commits = await seen(() => window.__scopeCommits)
await wait(5000)
const rate = ((await seen(() => window.__scopeCommits)) - commits) / 5
check('at most 2 commits a second while live', rate <= 2, rate)
console.log(`     commits/s ${rate}`)

await page.fill(tid('param-width'), '577')
await page.press(tid('param-width'), 'Enter')
check('size is corrected', (await page.inputValue(tid('param-width'))) === '576')
await page.click(tid('apply-reload'))
await state('loading')
await state('live')
check('apply reloads once', (await seen(() => window.mock.state.loads)) === 2)

await page.click(`${tid('source-kind')} >> text=Camera`)
await wait(1500)
check(
  'camera switches live',
  (await seen(() => window.mock.state.offers)) === 2 && (await page.$(tid('source-error'))) === null,
)
await page.click(`${tid('source-kind')} >> text=File`)
await page.setInputFiles(tid('video-upload'), { name: 'x.txt', mimeType: 'text/plain', buffer: Buffer.from('no') })
await page.waitForSelector(tid('source-error'))
check(
  'a text file is refused and the stream goes on',
  (await page.getAttribute(tid('stream-state'), 'data-state')) === 'live',
)

await seen(() => window.mock.freeze(true))
await state('stalled', 2600)
await wait(300)
check('stalled: fps is zero', (await text('fps-value')) === '0.0', await text('fps-value'))
const stalledAt = await text('timeline-time')
await wait(500)
check('stalled: the clock stands', (await text('timeline-time')) === stalledAt)
await seen(() => window.mock.freeze(false))
await state('live', 3000)

await seen(() => window.mock.die())
await state('reconnecting')
await wait(2500)
await seen(() => window.mock.restart())
await state('live', 15_000)
check('comes back by itself', (await seen(() => window.mock.state.loads)) === 3)

await seen(() => window.mock.stop('out_of_memory', 'CUDA out of memory'))
await page.waitForSelector(tid('error-card'))
check('error stops the clock', (await text('timeline-time')) === '0:00.00', await text('timeline-time'))
await page.click(`${tid('stream-state')}`)
await page.click('text=/^Use \\d+/')
await state('live', 15_000)
await page.click(tid('stop-button'))
await state('idle')
check('stop keeps the takes', (await blocks()).length > 4)
check('the input still moves', (await motion('input-preview', 300)) > 1)

await page.fill(tid('prompt-input-0'), 'kept text')
await wait(600)
await page.reload()
await page.waitForSelector(`${tid('start-stream-button')}:enabled`)
check('reload restores the prompt', (await page.inputValue(tid('prompt-input-0'))) === 'kept text')
check(
  'reload restores parameters',
  (await page.getAttribute(tid('param-noise_scale'), 'aria-valuenow')) === '0.3',
  await page.getAttribute(tid('param-noise_scale'), 'aria-valuenow'),
)
await page.click(`${tid('mode-toggle')} >> text=Text`)
await page.click(tid('start-stream-button'))
await state('live')
check('text mode plays', (await motion('stage-video', 400)) > 0.2)
check('nothing in the console', errors.length === 0, errors)
await browser.close()
server.close()
console.log(failed === 0 ? 'all good' : `${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
