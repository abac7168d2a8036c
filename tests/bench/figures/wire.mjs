// What leaves the server: how large pictures are, and how long their packets take to follow each other. That time is spent
// in the sender's queue and adds to the latency.
import { journey, served, window } from '../lib/measure.mjs'
import { gaps, quantile, round, sigma } from '../lib/numbers.mjs'
import { lossyProxy } from '../lib/proxy.mjs'
import { freePort } from '../lib/server.mjs'

export default async function wire({ server: start, browser: launch, page: open, seconds, result, keep }) {
  const media = await freePort()
  const server = await start(['--media-port', String(media)])
  await server.load('passthrough')
  const browser = await launch()
  for (const [width, height] of [
    [512, 512],
    [1280, 720],
  ]) {
    for (const codec of ['VP8', 'H264']) {
      const proxy = keep(await lossyProxy({ address: '127.0.0.1', port: media }))
      const page = await open(browser, server)
      const { index } = await page.evaluate((o) => bench.open(o), {
        source: { width, height, fps: 29.9, layout: 'strip' },
        codec,
        read: 'strip',
        port: proxy.port,
        parameters: { input_mode: 'video' },
      })
      const report = await window(page, index, seconds, server, { begin: proxy.forget })
      const pictures = proxy.pictures()
      const spans = pictures.map(({ first, last }) => last - first)
      const sizes = pictures.map(({ bytes }) => bytes / 1024)
      const { p50, p95, jitter_buffer_ms } = journey(report)
      result({
        case: `${codec} ${width}×${height}`,
        pictures: pictures.length,
        kib_p50: round(quantile(sizes, 0.5)),
        kib_p95: round(quantile(sizes, 0.95)),
        packets_p50: quantile(
          pictures.map(({ packets }) => packets),
          0.5,
        ),
        first_to_last_p50: round(quantile(spans, 0.5)),
        first_to_last_p95: round(quantile(spans, 0.95)),
        first_to_last_max: round(quantile(spans, 1)),
        sigma_between_pictures: round(sigma(gaps(pictures.map(({ first }) => first)))),
        jitter_buffer_ms,
        estimate_kbps: round(served(report, 'estimate_bps') / 1000, 0),
        pictures_kbps: round((sizes.reduce((sum, size) => sum + size, 0) * 8.192) / report.seconds, 0),
        all_rtp_kbps: round((proxy.bytes() * 8) / report.seconds / 1000, 0),
        glass_p50: p50,
        glass_p95: p95,
      })
      await page.evaluate((i) => bench.close(i), index)
      await page.close()
      await server.emptied()
    }
  }
}
