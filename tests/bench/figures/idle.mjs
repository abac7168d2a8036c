// What the server takes without doing anything: memory, time to start, size on disk.
import { execFileSync } from 'node:child_process'
import { rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { median, round } from '../lib/numbers.mjs'
import { cpuSeconds, rssMib, threads } from '../lib/proc.mjs'
import { sleep } from '../lib/wait.mjs'

const STARTS = 10

export default async function idle({ bin, newServer, browser: launch, page: open, seconds, result }) {
  const starts = []
  for (let turn = 0; turn < STARTS; turn++) {
    const server = await newServer().start()
    starts.push(server.startMs)
    await server.close()
  }
  result({
    what: 'start to listening, ms',
    median: round(median(starts), 0),
    smallest: round(Math.min(...starts), 0),
    largest: round(Math.max(...starts), 0),
    times: STARTS,
  })

  const server = await newServer().start()
  await sleep(3000)
  const memory = (when) =>
    result({ what: `memory ${when}`, rss_mib: round(rssMib(server.pid)), threads: threads(server.pid) })
  memory('after the start')
  const before = cpuSeconds(server.pid)
  await sleep(10_000)
  result({ what: 'CPU of one core without sessions', percent: round((cpuSeconds(server.pid) - before) * 10, 2) })
  await server.load('passthrough')
  memory('with passthrough loaded')
  const browser = await launch()
  const page = await open(browser, server)
  const source = { width: 512, height: 512, fps: 30 }
  const { index } = await page.evaluate((o) => bench.open(o), { source, parameters: { input_mode: 'video' } })
  await sleep(Math.min(seconds, 10) * 1000)
  memory('during a session, 512×512')
  await page.evaluate((i) => bench.close(i), index)
  await server.emptied()
  await sleep(2000)
  memory('after the session')

  const stripped = join(tmpdir(), `scope-stripped-${process.pid}`)
  execFileSync('strip', ['-s', '-o', stripped, bin])
  const mib = (path) => round(statSync(path).size / 1024 ** 2)
  result({ what: 'size of the binary, MiB', as_built: mib(bin), stripped: mib(stripped) })
  rmSync(stripped)
}
