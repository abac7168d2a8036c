// The server is killed while it records: the file must play.
import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { round } from '../lib/numbers.mjs'
import { sleep } from '../lib/wait.mjs'

const find = (folder) =>
  readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.mp4'))
    .map((entry) => join(entry.path, entry.name))

function examine(path) {
  const probe = spawnSync(
    'ffprobe',
    ['-v', 'error', '-of', 'json', '-show_format', '-show_streams', '-count_frames', path],
    { encoding: 'utf8' },
  )
  const { format = {}, streams = [] } = JSON.parse(probe.stdout || '{}')
  const packets = ['-v', 'error', '-of', 'csv=p=0', '-show_entries', 'packet=pts', '-select_streams', 'v']
  const times = spawnSync('ffprobe', [...packets, path], { encoding: 'utf8' })
    .stdout.trim()
    .split('\n')
    .map(Number.parseFloat)
  // Pictures come at uneven times: without these options ffmpeg would round them to an even rate and complain.
  const uneven = ['-fps_mode', 'passthrough', '-enc_time_base', '-1']
  const decode = spawnSync('ffmpeg', ['-v', 'error', '-xerror', '-i', path, ...uneven, '-f', 'null', '-'], {
    encoding: 'utf8',
  })
  return {
    duration_s: round(Number(format.duration)),
    frames: Number(streams[0]?.nb_read_frames),
    times_grow: times.every((time, i) => i === 0 || time > times[i - 1]) ? 'yes' : 'no',
    decodes: decode.status === 0 && decode.stderr === '' ? 'yes' : `no: ${decode.stderr.slice(0, 200)}`,
    probe_says: probe.stderr.trim().slice(0, 200) || 'nothing',
    kib: round(statSync(path).size / 1024, 0),
  }
}

export default async function recording({ newServer, browser: launch, page: open, result }) {
  execFileSync('ffprobe', ['-version'], { stdio: 'ignore' })
  const browser = await launch()
  for (const seconds of [1, 3, 10.3]) {
    const server = await newServer().start()
    await server.load('passthrough')
    const page = await open(browser, server)
    const { index, id } = await page.evaluate((o) => bench.open(o), {
      source: { width: 512, height: 512, fps: 30 },
      parameters: { input_mode: 'video' },
    })
    await page.waitForFunction((i) => bench.times(i).first, index, { timeout: 20_000 })
    await server.api(`/api/v1/recordings/${id}/start`, { method: 'POST' })
    await sleep(seconds * 1000)
    await server.stop('SIGKILL')
    const files = find(server.folder)
    const row = { killed_after_s: seconds }
    const seen = files.length > 0 ? examine(files[0]) : {}
    await server.start()
    await sleep(500)
    result({ ...row, ...seen, after_restart: find(server.folder).length > 0 ? 'kept' : 'gone' })
    await page.close()
  }
}
