// How evenly pictures come that a pipeline makes in bursts. "as made" is the unevenness if each were shown when it is made:
// all pictures of a chunk at the time at which its last input was drawn.
import { evenness, journey, served, window } from '../lib/measure.mjs'
import { gaps, round, sigma } from '../lib/numbers.mjs'
import { lossyProxy } from '../lib/proxy.mjs'
import { freePort } from '../lib/server.mjs'

export default async function pacing({ server: start, browser: launch, page: open, seconds, result, keep }) {
  const media = await freePort()
  const server = await start(['--media-port', String(media)])
  await server.load('testcard', { width: 512, height: 512 })
  const browser = await launch()
  for (const chunk_frames of [1, 4, 12]) {
    const page = await open(browser, server)
    // Loses nothing; it only notes when packets come.
    const proxy = keep(await lossyProxy({ address: '127.0.0.1', port: media }))
    const { index } = await page.evaluate((o) => bench.open(o), {
      source: { width: 512, height: 512, fps: 30, layout: 'grid' },
      read: 'card',
      port: proxy.port,
      parameters: { input_mode: 'video', chunk_frames, prompts: [{ text: 'a cat', weight: 1 }] },
    })
    const report = await window(page, index, seconds, server, { warmUp: 8000, begin: proxy.forget })
    const made = report.drawn.map(
      (_, i) => report.drawn[Math.min(report.drawn.length - 1, i - (i % chunk_frames) + chunk_frames - 1)],
    )
    const { p50, p95, fps, missed, of } = journey(report)
    const { arrived, shown, callback } = evenness(report)
    result({
      chunk_frames,
      sigma_as_made: round(sigma(gaps(made)), 2),
      sigma_source: round(sigma(gaps(report.drawn)), 2),
      sigma_wire: round(sigma(gaps(proxy.pictures().map(({ first }) => first))), 2),
      sigma_arrived: arrived,
      sigma_shown: shown,
      sigma_callback: callback,
      fps,
      missed,
      of,
      latency_p50: p50,
      latency_p95: p95,
      queue_frames: round(served(report, 'queue_frames')),
      unreadable: report.unreadable,
    })
    await page.evaluate((i) => bench.close(i), index)
    await page.close()
    await server.emptied()
  }
}
