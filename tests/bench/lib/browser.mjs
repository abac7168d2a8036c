import { chromium } from 'playwright-core'

export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
  // Without it no connection stays on the loopback interface when there is no other.
  '--allow-loopback-in-peer-connection',
]

export const launch = (...more) =>
  chromium.launch({ executablePath: CHROMIUM, headless: true, args: [...ARGS, ...more] })

/** Makes the browser's own senders ask for what the server asks for: show every picture as soon as it is there. */
export const NO_PLAYOUT_DELAY = '--force-fieldtrials=WebRTC-ForceSendPlayoutDelay/min_ms:0,max_ms:0/'

/** The measuring page, ready for `bench.…` calls. */
export async function openPage(browser, origin, server, token) {
  const page = await browser.newPage({ viewport: { width: 1320, height: 760 } })
  page.on('pageerror', (error) => console.error(`page: ${error.message}`))
  await page.goto(`${origin}/`)
  await page.evaluate((target) => bench.use(target), { origin: server?.origin, token })
  return page
}
