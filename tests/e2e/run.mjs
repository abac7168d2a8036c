import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { CHROMIUM, HERE, OUT, SCOPE_BIN, TINY_MODELS } from './lib/paths.mjs'

/**
 * Plays the browser stories against the real server: `node tests/e2e/run.mjs [NUMBER|NAME…]`.
 * SCOPE_BIN names the server, CHROMIUM the browser.
 */
function fail(text) {
  console.error(text)
  process.exit(1)
}

function mustInstall() {
  const installed = join(HERE, 'node_modules/.package-lock.json')
  return !existsSync(installed) || statSync(installed).mtimeMs < statSync(join(HERE, 'package-lock.json')).mtimeMs
}

if (!existsSync(SCOPE_BIN)) fail(`There is no ${SCOPE_BIN}: build it with "cargo build --release", or set SCOPE_BIN.`)
if (!existsSync(TINY_MODELS)) fail(`There is no ${TINY_MODELS}: run "cargo build --release --workspace --examples".`)
if (!existsSync(CHROMIUM)) fail(`There is no ${CHROMIUM}: install Chromium, or set CHROMIUM.`)
if (mustInstall()) {
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: HERE, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
rmSync(OUT, { recursive: true, force: true })

const folder = join(HERE, 'stories')
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.test.mjs'))
  .sort()
  .map((name) => join(folder, name))
const wanted = process.argv.slice(2).map((name) => {
  const pattern = /^\d+$/.test(name) ? `/^${name}:/` : name
  return `--test-name-pattern=${pattern}`
})
const args = ['--test', '--test-concurrency=1', '--test-reporter=spec', ...wanted, ...files]
const { status } = spawnSync(process.execPath, args, { stdio: 'inherit', env: { ...process.env, SCOPE_BIN } })
process.exit(status ?? 1)
