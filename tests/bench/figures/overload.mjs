// A pipeline that takes twice as long as its input lasts: latency must stay bounded, and what is dropped must be counted.
import { dropsOf, latencies, served } from '../lib/measure.mjs'
import { mean, round, spread } from '../lib/numbers.mjs'
import { rssMib } from '../lib/proc.mjs'
import { sleep } from '../lib/wait.mjs'

const CHUNK = 4
const SLICES = 6

export default async function overload({ server: start, browser: launch, page: open, seconds, result }) {
  const server = await start()
  await server.load('testcard', { width: 512, height: 512 })
  const browser = await launch()
  const page = await open(browser, server)
  const delay_ms = Math.round((2 * CHUNK * 1000) / 30)
  const { index } = await page.evaluate((o) => bench.open(o), {
    source: { width: 512, height: 512, fps: 30, layout: 'grid' },
    read: 'card',
    parameters: { input_mode: 'video', chunk_frames: CHUNK, delay_ms, prompts: [{ text: 'a cat', weight: 1 }] },
  })
  await page.waitForFunction((i) => bench.times(i).first, index, { timeout: 20_000 })
  await sleep(4000)
  for (let slice = 1; slice <= SLICES; slice++) {
    await page.evaluate((i) => bench.reset(i), index)
    await sleep(seconds * 1000)
    const report = await page.evaluate((i) => bench.report(i), index)
    result({
      slice: `${slice} of ${SLICES}, ${seconds} s each`,
      ...spread(latencies(report)),
      fps: round(report.samples.length / report.seconds),
      fps_in: round(served(report, 'fps_in')),
      fps_generated: round(served(report, 'fps_generated')),
      chunk_ms: round(served(report, 'chunk_ms'), 0),
      queue_frames: round(mean(report.messages.filter((m) => m.type === 'metrics').map((m) => m.queue_frames))),
      drops: dropsOf(report),
      rss_mib: round(rssMib(server.pid)),
    })
  }
  await page.close()
}
