// Clients come and go: offer, connection, first picture, end, many times. Half of them say goodbye, half only hang up.
import { median, quantile, round } from '../lib/numbers.mjs'
import { openFiles, rssMib, threads } from '../lib/proc.mjs'
import { sleep } from '../lib/wait.mjs'

const BATCH = 50

export default async function cyclesOf({ server: start, browser: launch, page: open, cycles, result, note }) {
  const server = await start(['--max-sessions', '16'])
  await server.load('testcard', { width: 256, height: 256 })
  const browser = await launch()
  const took = []
  let without = 0
  const row = (after) =>
    result({
      after,
      rss_mib: round(rssMib(server.pid)),
      threads: threads(server.pid),
      open_files: openFiles(server.pid),
      first_frame_median: round(median(took), 0),
      first_frame_p95: round(quantile(took, 0.95), 0),
      without_picture: without,
    })
  await sleep(2000)
  row(0)
  for (let done = 0; done < cycles; ) {
    const count = Math.min(BATCH, cycles - done)
    const page = await open(browser, server)
    const batch = await page.evaluate(
      async ([n, first]) => {
        const parameters = { input_mode: 'text', prompts: [{ text: 'a cat', weight: 1 }] }
        const out = []
        let next = 0
        const visitor = async () => {
          while (next < n)
            out.push(await bench.visit({ parameters }, (first + next++) % 2 === 0).catch((e) => String(e)))
        }
        await Promise.all([visitor(), visitor()])
        return out
      },
      [count, done],
    )
    await page.close()
    for (const each of batch.filter((value) => typeof value === 'string').slice(0, 1)) note(each)
    took.push(...batch.filter((value) => typeof value === 'number'))
    without += batch.filter((value) => typeof value !== 'number').length
    done += count
    await server.emptied()
    if (done % 100 === 0 || done === cycles) {
      await sleep(2000)
      row(done)
    }
  }
  result({ left_over: `${(await server.sessions()).length} sessions`, health: (await server.api('/health')).status })
}
