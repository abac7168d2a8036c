// A lossy network: the same share of datagrams lost in both directions, at random but the same in every run.

import { dropsOf, journey, served, window } from '../lib/measure.mjs'
import { round } from '../lib/numbers.mjs'
import { lossyProxy } from '../lib/proxy.mjs'
import { freePort } from '../lib/server.mjs'

export default async function loss({ server: start, browser: launch, page: open, seconds, result, keep }) {
  const media = await freePort()
  const server = await start(['--media-port', String(media)])
  await server.load('passthrough')
  const browser = await launch()
  for (const share of [0, 0.02, 0.1]) {
    const proxy = keep(await lossyProxy({ address: '127.0.0.1', port: media }))
    const page = await open(browser, server)
    const { index } = await page.evaluate((o) => bench.open(o), {
      source: { width: 512, height: 512, fps: 30 },
      codec: 'VP8',
      read: 'strip',
      port: proxy.port,
      parameters: { input_mode: 'video' },
    })
    await page.waitForFunction((i) => bench.times(i).first, index, { timeout: 20_000 })
    proxy.loss = share
    const report = await window(page, index, Math.max(seconds, 1.5 * seconds), server)
    const { change } = report
    const { p50, p95, max, fps, missed, of, freezes, jitter_buffer_ms } = journey(report)
    result({
      loss: `${share * 100} %`,
      p50,
      p95,
      max,
      fps,
      missed,
      of,
      freezes,
      frozen_s: round(change.frozen),
      jitter_buffer_ms,
      keyframes: change.keyframes,
      nacks: change.nacks,
      plis: change.plis,
      bitrate_kbps: round(served(report, 'bitrate_bps') / 1000, 0),
      estimate_kbps: round(served(report, 'estimate_bps') / 1000, 0),
      rtt_ms: round(served(report, 'rtt_ms')),
      server_drops: dropsOf(report),
      lost_datagrams: round((100 * proxy.lost) / (proxy.lost + proxy.passed)),
      seconds: round(report.seconds, 0),
    })
    await page.evaluate((i) => bench.close(i), index)
    await page.close()
    await server.emptied()
  }
}
