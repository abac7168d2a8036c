import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'
import { cameraClip } from './media.mjs'
import { CHROMIUM, IN_PAGE, OUT } from './paths.mjs'
import { Server, TOKEN } from './server.mjs'
import { Story } from './story.mjs'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const LOOPBACK = /^(https?:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d+)?\/|wss?:\/\/127\.0\.0\.1|blob:|data:|about:)/

export function launch(folder, { camera = 'allowed', args = [] } = {}) {
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--autoplay-policy=no-user-gesture-required',
      '--allow-loopback-in-peer-connection',
      camera === 'allowed' ? '--use-fake-ui-for-media-stream' : '--deny-permission-prompts',
      '--use-fake-device-for-media-stream',
      `--use-file-for-fake-video-capture=${cameraClip(folder, 'red')}`,
      ...args,
    ],
  })
}

/** Serious and critical findings of axe, as lines. */
export async function inspect(page, name) {
  // The page's policy forbids injected script elements; an evaluated string is not one.
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() =>
    window.axe.run({ resultTypes: ['violations'], preload: false, elementRef: false }),
  )
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, impact, nodes }) => {
      const where = nodes.map(({ target }) => target.join(' ')).slice(0, 4)
      return `${name}: axe ${impact} ${id}: ${where.join(' | ')}`
    })
}

/** CI plays a failed story once more, and says so. */
const ATTEMPTS = process.env.CI ? 2 : 1

/** One server and one browser for the stories of a file; every story gets a fresh profile and nothing loaded. */
export function suite({ server: serverOptions = {}, browser: browserOptions = {} } = {}) {
  const shared = { server: null, browser: null, folder: null }

  before(async () => {
    shared.folder = mkdtempSync(join(tmpdir(), 'scope-e2e-files-'))
    shared.server = await new Server(serverOptions).start()
    shared.browser = await launch(shared.folder, browserOptions)
  })
  after(async () => {
    await shared.browser?.close()
    await shared.server?.close()
    if (shared.folder) rmSync(shared.folder, { recursive: true, force: true })
  })

  /**
   * `expected`: console errors that belong to the story; `quiet`: no axe at the end; `fresh`: the server has just been started,
   * instead of having nothing loaded.
   */
  function story(
    name,
    body,
    { timeout = 90_000, viewport, touch = false, expected = [], open = true, quiet = false, fresh = false } = {},
  ) {
    async function once() {
      if (fresh) await shared.server.restart()
      else await shared.server.clear()
      const context = await shared.browser.newContext({
        viewport: viewport ?? { width: 1440, height: 900 },
        acceptDownloads: true,
        hasTouch: touch,
      })
      context.setDefaultTimeout(15_000)
      await context.addInitScript({ path: IN_PAGE })
      const console = []
      const requests = []
      context.on('request', (request) => requests.push(request))
      context.on('console', (message) => {
        const { url } = message.location()
        console.push(`${message.type()}: ${message.text()} ${url}`.trim())
      })
      context.on('weberror', (error) => console.push(`error: ${error.error().stack ?? error.error()}`))
      const page = await context.newPage()
      const s = new Story({ page, context, requests, ...shared })
      try {
        if (open) await s.open()
        await body(s)
        const problems = quiet ? [] : await inspect(s.page, 'end')
        problems.push(...console.filter((line) => /^error/.test(line) && !expected.some((known) => known.test(line))))
        problems.push(...requests.map((request) => request.url()).filter((url) => !LOOPBACK.test(url)))
        assert.deepEqual(problems, [])
      } catch (error) {
        await keep(name, context, console, shared.server, error)
        throw error
      } finally {
        await context.close().catch(() => undefined)
      }
    }
    test(name, { timeout: timeout * ATTEMPTS }, async (t) => {
      for (let attempt = 1; ; attempt++) {
        try {
          await once()
          return
        } catch (error) {
          if (attempt >= ATTEMPTS) throw error
          // A shared machine can stall anything; twice in a row it is the product.
          const why = String(error?.message ?? error).split('\n').slice(0, 8).join(' ')
          t.diagnostic(`UNSTEADY, played again after: ${why}`)
        }
      }
    })
  }
  return { story, shared }
}

async function keep(name, context, console, server, error) {
  mkdirSync(OUT, { recursive: true })
  const file = join(OUT, name.replace(/[^\w]+/g, '-').slice(0, 60))
  const pages = context.pages()
  for (const [i, page] of pages.entries()) {
    await page.screenshot({ path: `${file}-${i}.png`, timeout: 5000 }).catch(() => undefined)
  }
  const text = `${error?.stack ?? error}\n\n--- console\n${console.join('\n')}\n\n--- server\n${server?.log ?? ''}\n`
  writeFileSync(`${file}.log`, text.replaceAll(TOKEN, '…'))
}
