// Two clients; one's page crashes. Its session must end after the grace for lost connections, and the other must not notice.
import { journey, window } from '../lib/measure.mjs'
import { round } from '../lib/numbers.mjs'
import { rssMib, threads } from '../lib/proc.mjs'
import { eventually, sleep } from '../lib/wait.mjs'

export default async function lostClient({ server: start, browser: launch, page: open, seconds, result }) {
  const server = await start()
  await server.load('passthrough')
  const visit = async (browser) => {
    const page = await open(browser, server)
    const source = { width: 256, height: 256, fps: 30 }
    const { index, id } = await page.evaluate((o) => bench.open(o), {
      source,
      codec: 'VP8',
      read: 'strip',
      parameters: { input_mode: 'video' },
    })
    await page.waitForFunction((i) => bench.times(i).first, index, { timeout: 20_000 })
    return { page, index, id }
  }
  const stays = await visit(await launch())
  const goes = await visit(await launch())
  const row = (when, report) => {
    const { p50, p95, max, fps, missed, of, freezes } = journey(report)
    result({
      when,
      other_p50: p50,
      other_p95: p95,
      other_max: max,
      fps,
      missed,
      of,
      freezes,
      rss_mib: round(rssMib(server.pid)),
      threads: threads(server.pid),
    })
  }
  row('both connected', await window(stays.page, stays.index, seconds, server))
  await stays.page.evaluate((i) => bench.reset(i), stays.index)
  goes.page.goto('chrome://crash').catch(() => {})
  const crashed = performance.now()
  await new Promise((resolve) => {
    goes.page.once('crash', resolve)
    setTimeout(resolve, 5000)
  })
  const gone = await eventually(async () => !(await server.sessions()).some(({ id }) => id === goes.id), 90_000, 100)
  const after = performance.now() - crashed
  row('until its session ended', await stays.page.evaluate((i) => bench.report(i), stays.index))
  await sleep(1000)
  row('afterwards', await window(stays.page, stays.index, seconds, server, { warmUp: 0 }))
  const left = await server.sessions()
  result({
    session_ended_after_s: gone ? round(after / 1000) : 'not within 90 s',
    other_alive: left.some(({ id }) => id === stays.id) ? 'yes' : 'no',
    sessions_left: left.length,
  })
}
