// Measures the real server with a real browser. Prints one line of JSON per figure, and tables at the end.
//
//   node tests/bench/run.mjs [names…] [--seconds N] [--cycles N] [--bin PATH] [--wait MINUTES] [--ahead]
//
// --wait gives other work on this machine that long to end before each figure; --ahead (as root) puts the server and the
// browser ahead of it.
// It never judges by time: a slow machine gives other numbers, not a failure. The exit status says only whether all
// figures could be taken.
import { execFileSync } from 'node:child_process'
import { loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { putAhead } from './lib/ahead.mjs'
import { CHROMIUM, launch, openPage } from './lib/browser.mjs'
import { round } from './lib/numbers.mjs'
import { servePages } from './lib/pages.mjs'
import { machineMeter } from './lib/proc.mjs'
import { Server, TOKEN } from './lib/server.mjs'
import { tables } from './lib/tables.mjs'
import { sleep } from './lib/wait.mjs'

const FIGURES = [
  'glass',
  'generate',
  'first-frame',
  'pacing',
  'wire',
  'sessions',
  'idle',
  'loss',
  'overload',
  'recording',
  'timeline',
  'soak',
  'cycles',
  'garbage',
  'lost-client',
]

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '20' },
    cycles: { type: 'string', default: '500' },
    bin: { type: 'string', default: fileURLToPath(new URL('../../target/release/scope', import.meta.url)) },
    wait: { type: 'string', default: '0' },
    ahead: { type: 'boolean', default: false },
  },
})
const unknown = positionals.filter((name) => !FIGURES.includes(name))
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(' ')}; there are: ${FIGURES.join(' ')}`)
  process.exit(2)
}

/** Gives other work on this machine time to end. */
async function quiet(minutes) {
  const end = Date.now() + minutes * 60_000
  while (Date.now() < end) {
    const used = machineMeter()
    await sleep(5000)
    if (used().others < 0.3) return
  }
}

// What we started ends with us.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130))

const pages = await servePages()
if (options.ahead) setInterval(putAhead, 500).unref()
const rows = []

/** What a figure works with; everything it opens is closed when it ends. */
async function withTools(name, work) {
  const opened = []
  const keep = (thing) => {
    opened.unshift(thing)
    return thing
  }
  const tools = {
    bin: options.bin,
    seconds: Number(options.seconds),
    cycles: Number(options.cycles),
    newServer: (args = []) => keep(new Server(options.bin, { args: ['--allow-origin', pages.origin, ...args] })),
    server: (args) => tools.newServer(args).start(),
    browser: async (...flags) => keep(await launch(...flags)),
    page: (browser, server) => openPage(browser, pages.origin, server, TOKEN),
    keep,
    note: (...text) => console.error(`  ${name}:`, ...text),
    result: (row) => {
      rows.push({ figure: name, ...row })
      console.log(JSON.stringify({ figure: name, ...row }))
    },
  }
  try {
    await work(tools)
  } finally {
    for (const thing of opened) await Promise.resolve(thing.close()).catch(() => {})
  }
}

const output = (command, ...args) =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
console.log(
  JSON.stringify({
    figure: 'machine',
    date: new Date().toISOString(),
    scope: output(options.bin, '--version').trim(),
    browser: output(CHROMIUM, '--version').trim(),
    node: process.version,
    cores: output('nproc').trim(),
    ahead: options.ahead,
  }),
)

let failed = false
for (const name of positionals.length > 0 ? positionals : FIGURES) {
  await quiet(Number(options.wait))
  const used = machineMeter()
  const load = round(loadavg()[0], 2)
  const began = Date.now()
  console.error(`${name}…`)
  try {
    const { default: measure } = await import(`./figures/${name}.mjs`)
    await withTools(name, measure)
  } catch (error) {
    failed = true
    console.log(JSON.stringify({ figure: name, error: String(error.stack ?? error) }))
  }
  const seconds = round((Date.now() - began) / 1000)
  const cores = used()
  console.log(
    JSON.stringify({
      figure: 'ran',
      name,
      load_before: load,
      cores_used: round(cores.used, 2),
      cores_used_by_others: round(cores.others, 2),
      seconds,
    }),
  )
}
pages.close()
console.log(tables(rows))
process.exit(failed ? 1 : 0)
