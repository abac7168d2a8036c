// A long show on the product's own page with the built-in model: what the page and the server keep, and whether it ever
// stalls, while a new prompt is taken every 15 seconds. `--seconds 600` is the show that docs/performance.md tells of.
import { quantile, round } from '../lib/numbers.mjs'
import { rssMib } from '../lib/proc.mjs'
import { TOKEN } from '../lib/server.mjs'
import { sleep } from '../lib/wait.mjs'

const PROMPTS = ['a red car driving on a road', 'a boat on the sea', 'a castle in the snow', 'a cat in a garden']
const EVERY_MS = 15_000

/** Notes when pictures are shown and what holds the page up. */
function watch() {
  const video = document.querySelector('[data-testid="stage-video"]')
  const soak = { frames: 0, last: performance.now(), gap: 0, stalls: 0, long: [] }
  window.soak = soak
  const shown = (now) => {
    const gap = now - soak.last
    soak.gap = Math.max(soak.gap, gap)
    soak.stalls += gap > 2000 ? 1 : 0
    soak.last = now
    soak.frames += 1
    video.requestVideoFrameCallback(shown)
  }
  video.requestVideoFrameCallback(shown)
  new PerformanceObserver((list) => soak.long.push(...list.getEntries().map(({ duration }) => duration))).observe({
    type: 'longtask',
  })
}

export default async function soak({ server: start, browser: launch, seconds, result, note }) {
  const server = await start()
  const browser = await launch()
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } })
  const client = await page.context().newCDPSession(page)
  await client.send('Performance.enable')
  await page.goto(`${server.origin}/?token=${TOKEN}`)
  const tid = (id) => page.locator(`[data-testid="${id}"]`)
  await tid('start-stream-button').click()
  await tid('timeline-block').waitFor({ timeout: 60_000 })
  await page.evaluate(watch)

  const state = async () => {
    await client.send('HeapProfiler.collectGarbage')
    const { usedSize } = await client.send('Runtime.getHeapUsage')
    const { metrics } = await client.send('Performance.getMetrics')
    const metric = (name) => metrics.find((each) => each.name === name)?.value
    return {
      heap_mib: round(usedSize / 2 ** 20, 2),
      nodes: metric('Nodes'),
      listeners: metric('JSEventListeners'),
      server_mib: round(rssMib(server.pid)),
    }
  }
  const milliseconds = async () => {
    const [minutes, rest] = (await tid('timeline-time').textContent()).split('/')[0].trim().split(':')
    return (Number(minutes) * 60 + Number(rest)) * 1000
  }
  await sleep(Math.min(20_000, seconds * 100))
  const first = await state()
  const clock = { wall: Date.now(), show: await milliseconds() }
  const latencies = []
  const end = Date.now() + seconds * 1000
  for (let turn = 0; Date.now() < end; turn++) {
    await tid('prompt-input-0').fill(PROMPTS[turn % PROMPTS.length])
    await tid('prompt-input-0').press('Enter')
    await sleep(Math.min(EVERY_MS, end - Date.now()))
    latencies.push(Number.parseFloat(await tid('latency-value').textContent()))
    if (turn % 4 === 3) note(JSON.stringify(await state()))
  }
  const drift = (await milliseconds()) - clock.show - (Date.now() - clock.wall)
  const last = await state()
  const seen = await page.evaluate(() => ({ ...window.soak, long: window.soak.long.filter((ms) => ms > 100).length }))
  const known = latencies.filter(Number.isFinite)
  result({
    seconds,
    prompts: latencies.length,
    fps: round(seen.frames / seconds),
    longest_gap_ms: round(seen.gap, 0),
    stalls_over_2_s: seen.stalls,
    long_tasks_over_100_ms: seen.long,
    prompt_p50_s: round(quantile(known, 0.5), 2),
    prompt_p95_s: round(quantile(known, 0.95), 2),
    timeline_drift_ms: round(drift, 0),
    ...Object.fromEntries(Object.keys(first).map((key) => [key, `${first[key]} → ${last[key]}`])),
  })
}
