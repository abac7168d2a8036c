// Glass to glass: from before a picture is drawn to the callback that it is shown, through passthrough; and the same page
// with two local connections and no server, which is what the browser alone takes.
import { NO_PLAYOUT_DELAY } from '../lib/browser.mjs'
import { journey, served, window } from '../lib/measure.mjs'
import { round } from '../lib/numbers.mjs'

export default async function glass({ server: start, browser: launch, page: open, seconds, result }) {
  const server = await start()
  await server.load('passthrough')
  const browsers = { server: await launch(), 'browser alone': await launch(NO_PLAYOUT_DELAY) }
  for (const [width, height] of [
    [512, 512],
    [1280, 720],
  ]) {
    for (const codec of ['VP8', 'H264']) {
      // Not quite 30, so that drawing and the screen's 60 Hz meet in every phase.
      const source = { width, height, fps: 29.9, layout: 'strip' }
      for (const way of Object.keys(browsers)) {
        const page = await open(browsers[way], server)
        const options = { source, codec, read: 'strip', parameters: { input_mode: 'video' } }
        const run = way === 'server' ? (o) => bench.open(o) : (o) => bench.openFloor(o)
        const { index } = await page.evaluate(run, options)
        const report = await window(page, index, seconds, way === 'server' ? server : null)
        result({
          case: `${codec} ${width}×${height}`,
          way,
          ...journey(report),
          unreadable: report.unreadable,
          got: `${report.change.codec?.split('/')[1]} ${report.size.join('×')}`,
          kbps: round((report.change.bytes * 8) / report.seconds / 1000, 0),
          server_encode_ms: round(served(report, 'encode_ms')),
          server_cpu: report.cpu === null || report.cpu === undefined ? null : round(report.cpu),
          browser_encode_ms: round((1000 * report.change.encodeTime) / report.change.encoded),
          browser_decode_ms: round((1000 * report.change.decodeTime) / report.change.decoded),
        })
        await page.evaluate((i) => bench.close(i), index)
        await page.close()
        await server.emptied()
      }
    }
  }
}
