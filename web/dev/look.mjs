import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'
import { serve } from './serve.mjs'

/** Walks the built app through its states with the in-page server, takes pictures, and runs axe on each. */
const out = process.argv[2] ?? 'out'
mkdirSync(out, { recursive: true })
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const mock = new URL('./mock.js', import.meta.url).pathname
const SIZES = { wide: [1440, 900], medium: [820, 1180], narrow: [390, 844], small: [360, 640] }
const only = process.argv[3]?.split(',')

const { server, port } = await serve()
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--no-first-run',
    '--autoplay-policy=no-user-gesture-required',
    '--use-fake-ui-for-media-stream',
    '--use-fake-device-for-media-stream',
  ],
})
let problems = 0
const complain = (text) => {
  problems += 1
  console.log(`! ${text}`)
}

async function open([width, height]) {
  const context = await browser.newContext({ viewport: { width, height } })
  await context.addInitScript({ path: mock })
  const page = await context.newPage()
  page.on(
    'console',
    (message) => message.type() === 'error' && complain(`console: ${message.text().trim()} ${message.location().url}`),
  )
  page.on('pageerror', (error) => complain(`page error: ${error.message}`))
  page.on('request', (request) => {
    const url = request.url()
    if (!/^(http:\/\/127\.0\.0\.1|blob:|data:)/.test(url)) complain(`left the machine: ${url}`)
  })
  await page.goto(`http://127.0.0.1:${port}/`)
  await page.waitForSelector('[data-testid="start-stream-button"]:enabled')
  await page.waitForTimeout(900)
  return page
}

async function look(page, name) {
  await page.screenshot({ path: `${out}/${name}.png` })
  // The page's policy forbids injected script elements; an evaluated string is not one.
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ['violations'] }))
  for (const { id, impact, nodes } of violations) {
    complain(
      `${name}: axe ${impact} ${id}: ${nodes
        .map((node) => node.target.join(' '))
        .slice(0, 4)
        .join(' | ')}`,
    )
  }
  const sideways = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)
  if (sideways) complain(`${name}: scrolls sideways`)
}

const state = (page, word) =>
  page.waitForSelector(`[data-testid="stream-state"][data-state="${word}"]`, { timeout: 20_000 })

for (const [name, size] of Object.entries(SIZES)) {
  if (only && !only.includes(name)) continue
  const page = await open(size)
  await look(page, `${name}-idle`)
  await page.click('[data-testid="start-stream-button"]')
  await state(page, 'loading')
  await page.waitForTimeout(700)
  await look(page, `${name}-loading`)
  await state(page, 'live')
  await page.waitForTimeout(3000)
  await page.click('[data-testid="prompt-chip"] >> nth=2')
  await page.waitForTimeout(2000)
  await page.fill('[data-testid="prompt-input-0"]', 'a robot walking on mars')
  await page.press('[data-testid="prompt-input-0"]', 'Control+Enter')
  await page.press('[data-testid="prompt-input-0"]', 'Alt+Enter')
  await page.waitForTimeout(2500)
  await look(page, `${name}-live`)
  await page.click('[data-testid="add-prompt"]')
  await page.fill('[data-testid="prompt-input-1"]', 'a dragon flying through clouds')
  await page.press('[data-testid="prompt-input-1"]', 'Enter')
  await page.keyboard.press('Tab')
  await page.evaluate(() => document.activeElement?.blur())
  await page.keyboard.press('h')
  if (name === 'narrow' || name === 'small') {
    for (const tab of ['takes', 'source', 'tune']) {
      await page.click(`[role="tab"][id$="${tab}"]`)
      await page.waitForTimeout(300)
      await look(page, `${name}-tab-${tab}`)
    }
  } else {
    if (name === 'medium') await page.click('button[aria-label="Parameters panel"]')
    await page.fill('[data-testid="param-width"]', '577')
    await page.press('[data-testid="param-width"]', 'Enter')
    await page.waitForTimeout(1500)
    await look(page, `${name}-blend`)
    if (name === 'medium') await page.keyboard.press('Escape')
  }
  await page.evaluate(() => window.mock.stop('out_of_memory', 'CUDA out of memory. Tried to allocate 2.5 GiB'))
  await page.waitForSelector('[data-testid="error-card"]')
  await page.waitForTimeout(300)
  await look(page, `${name}-error`)
  if (name === 'wide') {
    await page.evaluate(() => document.activeElement?.blur())
    await page.keyboard.press('?')
    await page.waitForTimeout(300)
    await look(page, 'wide-shortcuts')
    await page.keyboard.press('Escape')
    await page.keyboard.press('`')
    await page.waitForTimeout(600)
    await look(page, 'wide-logs')
  }
  await page.context().close()
}
await browser.close()
server.close()
console.log(problems === 0 ? 'nothing to complain about' : `${problems} complaints`)
process.exitCode = problems === 0 ? 0 : 1
