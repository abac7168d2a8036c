import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { hue, hueDistance, hueOf } from '../lib/card.mjs'
import { PAGES } from '../lib/paths.mjs'
import { freePort, TOKEN } from '../lib/server.mjs'
import { DOG } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import { SLOW, until } from '../lib/wait.mjs'

const DRAGON = 'a dragon flying through clouds'
const html = readFileSync(join(PAGES, 'quickstart.html'))
const port = await freePort()
const elsewhere = `http://127.0.0.1:${port}`
const { story } = suite({ server: { args: ['--allow-origin', elsewhere] } })
const host = createServer((_, response) => {
  response.setHeader('content-type', 'text/html; charset=utf-8')
  response.end(html)
})
before(() => new Promise((resolve) => host.listen(port, '127.0.0.1', resolve)))
after(() => host.close())

const seen = (s) =>
  s.eval(() => {
    const { polls, trickled, frames, failed, connected, messages } = window.quickstart
    return { polls, trickled, frames, failed, connected, messages: messages.map(({ type }) => type) }
  })

async function plays(s) {
  await until(
    'frames are decoded',
    async () => {
      const now = await seen(s)
      assert.equal(now.failed, null)
      return now.frames > 20
    },
    10_000 * SLOW,
    () => seen(s),
  )
  const { polls, trickled, messages } = await seen(s)
  assert.ok(polls >= 1 && trickled >= 1)
  assert.ok(messages.every((type) => typeof type === 'string'))
  const decoded = await s.eval(async () =>
    [...(await window.quickstart.pc.getStats()).values()]
      .filter(({ type }) => type === 'inbound-rtp')
      .reduce((sum, { framesDecoded }) => sum + framesDecoded, 0),
  )
  assert.ok(decoded > 20)
  await until('the first prompt is in the picture', () => hasHue(s, DOG), 1500 * SLOW)
  assert.ok(await s.eval(() => window.quickstart.ready()))
  await s.eval((text) => window.quickstart.send({ prompts: [{ text, weight: 100 }] }), DRAGON)
  await until('the next prompt is in the picture', () => hasHue(s, DRAGON), 1500 * SLOW)
  const sessions = await s.server.sessions()
  assert.equal(sessions.length, 1)
}

async function hasHue(s, text) {
  const { rgb } = await s.px('#video', true)
  return hueDistance(hue(rgb), hueOf(text)) <= 6
}

story(
  'quickstart: a page of another origin plays with the token',
  async (s) => {
    const query = new URLSearchParams({ api: s.server.origin, token: TOKEN, prompt: DOG })
    await s.page.goto(`${elsewhere}/?${query}`)
    await plays(s)
  },
  { open: false, quiet: true },
)

story(
  'quickstart: a page of the same origin plays with the cookie',
  async (s) => {
    await s.page.goto(`${s.server.origin}/?token=${TOKEN}`)
    await s.page.route('**/quickstart.html*', (route) => route.fulfill({ contentType: 'text/html', body: html }))
    await s.page.goto(`${s.server.origin}/quickstart.html?${new URLSearchParams({ prompt: DOG })}`)
    await plays(s)
  },
  { open: false, quiet: true },
)

story(
  'quickstart: a page that nobody allowed gets nothing',
  async (s) => {
    const strange = createServer((_, response) => {
      response.setHeader('content-type', 'text/html; charset=utf-8')
      response.end(html)
    })
    await new Promise((resolve) => strange.listen(0, '127.0.0.1', resolve))
    try {
      const query = new URLSearchParams({ api: s.server.origin, token: TOKEN, prompt: DOG })
      await s.page.goto(`http://127.0.0.1:${strange.address().port}/?${query}`)
      await until('the page is refused', () => s.eval(() => window.quickstart.failed !== null))
      assert.equal((await s.server.api('/api/v1/pipeline/status')).status, 'not_loaded')
    } finally {
      strange.close()
    }
  },
  { open: false, quiet: true, expected: [/blocked by CORS policy/, /Failed to load resource/] },
)
