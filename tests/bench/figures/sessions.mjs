// How many sessions at 512×512 and 30 fps one server bears. The server plays a clip from its disk through passthrough and
// encodes it for each session; the browser only receives and counts. Latency is a ping over the data channel, and the
// rate at which the server says it sends.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { served } from '../lib/measure.mjs'
import { mean, round, spread } from '../lib/numbers.mjs'
import { cpuSeconds, rssMib, threads } from '../lib/proc.mjs'
import { sleep } from '../lib/wait.mjs'

const COUNTS = [1, 2, 3, 4, 6, 8, 12]

function graphOf(name) {
  const edge = (from, to_node) => ({ from, from_port: 'video', to_node, to_port: 'video', kind: 'stream' })
  return {
    nodes: [
      { id: 'clip', type: 'source', source_mode: 'video_file', source_name: name },
      { id: 'passthrough', type: 'pipeline', pipeline_id: 'passthrough' },
      { id: 'out', type: 'sink' },
    ],
    edges: [edge('clip', 'passthrough'), edge('passthrough', 'out')],
  }
}

export default async function sessions({ server: start, browser: launch, page: open, seconds, result, note }) {
  const server = await start(['--max-sessions', '64'])
  const clip = join(server.folder, 'bench.mp4')
  const look = ['-f', 'lavfi', '-i', 'testsrc2=size=512x512:rate=30:duration=10', '-pix_fmt', 'yuv420p']
  execFileSync('ffmpeg', ['-v', 'error', ...look, '-c:v', 'libx264', '-preset', 'veryfast', clip])
  const body = readFileSync(clip)
  const headers = { 'content-type': 'application/octet-stream' }
  const asset = await server.api('/api/v1/assets?filename=bench.mp4', { method: 'POST', body, headers })
  await server.load('passthrough')
  const browser = await launch()
  const page = await open(browser, server)
  const running = []
  let alone
  for (const count of COUNTS) {
    while (running.length < count) {
      const { index } = await page.evaluate((o) => bench.open(o), {
        view: false,
        codec: 'VP8',
        parameters: { input_mode: 'video', graph: graphOf(asset.path) },
      })
      await page.waitForFunction((i) => bench.times(i).connected, index, { timeout: 30_000 })
      running.push(index)
    }
    await sleep(4000)
    for (const index of running) await page.evaluate((i) => bench.reset(i), index)
    const cpu = () => cpuSeconds(server.pid)
    const all = () => cpuSeconds(server.pid, { descendants: true })
    const [cpuBefore, allBefore] = [cpu(), all()]
    const began = performance.now()
    while (performance.now() - began < seconds * 1000) {
      for (const index of running) await page.evaluate((i) => bench.ping(i), index)
      await sleep(250)
    }
    const wall = (performance.now() - began) / 1000
    const used = ((cpu() - cpuBefore) / wall) * 100
    const usedAll = ((all() - allBefore) / wall) * 100
    const reports = []
    for (const index of running) reports.push(await page.evaluate((i) => bench.report(i), index))
    const ping = spread(reports.flatMap((report) => report.pongs))
    alone ??= ping.p95
    const fps = reports.map((report) => report.change.received / report.seconds)
    result({
      sessions: count,
      ping_p50: ping.p50,
      ping_p95: ping.p95,
      doubled: ping.p95 > 2 * alone ? 'yes' : 'no',
      fps_out: round(mean(reports.map((report) => served(report, 'fps_out')).filter(Number.isFinite))),
      fps_received: round(mean(fps)),
      fps_received_least: round(Math.min(...fps)),
      encode_ms: round(mean(reports.map((report) => served(report, 'encode_ms')).filter(Number.isFinite))),
      server_cpu: round(used, 0),
      with_decoders: round(usedAll, 0),
      rss_mib: round(rssMib(server.pid), 0),
      threads: threads(server.pid),
    })
    if (mean(fps) < 15) {
      note('stops here: fewer than half the pictures arrive')
      break
    }
  }
  await page.close()
}
