// Panning and zooming a timeline of 512 blocks on the product's own page: pictures a second that the browser shows meanwhile.
import { round } from '../lib/numbers.mjs'
import { TOKEN } from '../lib/server.mjs'
import { sleep } from '../lib/wait.mjs'

/** Moves the timeline by wheel in every picture, and tells when the pictures came. */
function wheel({ seconds, delta, zoom }) {
  const scroller = document.querySelector('[data-testid="timeline-scroller"]')
  const { left, width, top } = scroller.getBoundingClientRect()
  const at = { clientX: left + width / 2, clientY: top + 40, bubbles: true, cancelable: true }
  const frames = []
  let most = 0
  return new Promise((resolve) => {
    const step = (now) => {
      frames.push(now)
      most = Math.max(most, document.querySelectorAll('[data-testid="timeline-block"]').length)
      if (now - frames[0] > seconds * 1000) {
        resolve({ frames, most })
        return
      }
      // There and back again.
      const way = Math.floor((now - frames[0]) / 2000) % 2 === 0 ? 1 : -1
      scroller.dispatchEvent(new WheelEvent('wheel', { ...at, deltaY: way * delta, ctrlKey: zoom }))
      requestAnimationFrame(step)
    }
    requestAnimationFrame(step)
  })
}

export default async function timeline({ server: start, browser: launch, seconds, result }) {
  const server = await start()
  const browser = await launch()
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } })
  await page.goto(`${server.origin}/?token=${TOKEN}`)
  const tid = (id) => page.locator(`[data-testid="${id}"]`)
  const blocks = () => page.evaluate(() => Number(document.querySelector('[role="option"]')?.ariaSetSize ?? 0))

  // One take, doubled until there are enough.
  await tid('pipeline-select').click()
  await page.getByRole('option', { name: 'Test card' }).first().click()
  await tid('start-stream-button').click()
  await tid('timeline-block').waitFor({ timeout: 30_000 })
  await sleep(3000)
  await tid('stop-button').click()
  await tid('start-stream-button').waitFor()
  await tid('timeline-blocks').focus()
  for (let count = await blocks(); count < 500; count = await blocks()) {
    await page.keyboard.press('Control+a')
    await page.keyboard.press('d')
    await page.waitForFunction(
      (count) => Number(document.querySelector('[role="option"]').ariaSetSize) > count,
      count,
    )
  }
  await page.keyboard.press('Escape')

  const time = Math.min(seconds, 8)
  const idle = await page.evaluate(wheel, { seconds: 2, delta: 0, zoom: false })
  const rate = ({ frames }) => ((frames.length - 1) * 1000) / (frames.at(-1) - frames[0])
  const slowest = ({ frames }) => Math.max(...frames.slice(1).map((now, i) => now - frames[i]))
  for (const [what, options] of [
    ['pan', { delta: 60, zoom: false }],
    ['zoom', { delta: 12, zoom: true }],
  ]) {
    const run = await page.evaluate(wheel, { seconds: time, ...options })
    result({
      what: `${what}, ${await blocks()} blocks`,
      fps: round(rate(run)),
      fps_idle: round(rate(idle)),
      slowest_frame_ms: round(slowest(run)),
      blocks_in_page: run.most,
    })
  }
}
