import assert from 'node:assert/strict'
import { DOG } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const { story } = suite()
const DRAGON = 'a dragon flying through clouds'
/** What Chromium writes when the server is not there; the story is about just that. */
const SERVER_GONE = [/Failed to load resource: net::ERR_/, /ERR_CONNECTION_REFUSED/, /ERR_INCOMPLETE_CHUNKED_ENCODING/]

story('16: Space after a take pauses picture and clock, and again resumes', async (s) => {
  await s.start()
  await s.take(DRAGON)
  await s.hue(DRAGON)
  await s.leaveBox()
  const before = await s.sentCount()
  await s.page.keyboard.press('Space')
  await s.state('paused')
  assert.ok((await s.sent(before)).some((message) => message.paused === true))
  // What was on its way still arrives.
  await sleep(500 * SLOW)
  const time = await s.time()
  const counter = await s.counter()
  const motion = await s.motion('stage-video', 800)
  assert.ok(motion < 0.3, `motion ${motion}`)
  assert.equal(await s.counter(), counter)
  assert.equal(await s.time(), time)
  await s.page.keyboard.press('Space')
  await s.state('live')
  assert.ok((await s.sent(before)).some((message) => message.paused === false))
  await s.moves()
  await until('the clock goes on', async () => (await s.time()) > time)
  assert.equal(await s.prompt().inputValue(), DRAGON)
})

story('17: Stop lets go of everything, five times in a row', async (s) => {
  await s.pipeline('Test card')
  for (let round = 1; round <= 5; round++) {
    await s.tid('start-stream-button').click()
    await s.state('live')
    await s.moves()
    if (round === 1) {
      await s.take(DRAGON)
      await s.hue(DRAGON)
    }
    await s.stop()
    const peers = await s.eval(() => window.e2e.peers.map((peer) => peer.connectionState))
    assert.deepEqual(peers, Array(round).fill('closed'))
    await until(
      'the clock is at zero',
      async () => (await s.time()) === 0,
      1000,
      () => s.time(),
    )
    const shift = await s.tid('playhead').evaluate((node) => new DOMMatrix(getComputedStyle(node).transform).e)
    assert.equal(shift, 0)
    const texts = (await s.blocks()).map(({ text }) => text)
    assert.deepEqual(texts, [DOG, ...Array(round).fill(DRAGON)])
    assert.ok((await s.blocks()).every(({ live }) => !live))
    assert.ok((await s.motion('input-preview', 300)) > 1, 'the input still moves')
    await until('the server has let go', async () => (await s.server.sessions()).length === 0)
  }
})

story(
  '33: a frozen server is a stall, not an end',
  async (s) => {
    await s.start()
    await sleep(3000)
    const real = await s.eval(() => window.e2e.vfps('stage-video', 4))
    const shown = await s.fps()
    assert.ok(Math.abs(shown - real) <= 0.15 * real + 0.5, `shows ${shown}, is ${real}`)
    s.server.signal('SIGSTOP')
    try {
      await s.state('stalled', 2000 * 1.5)
      await until(
        'the frame rate is 0',
        async () => (await s.fps()) === 0,
        1500,
        () => s.fps(),
      )
      const time = await s.time()
      await sleep(600)
      assert.equal(await s.time(), time)
    } finally {
      s.server.signal('SIGCONT')
    }
    await s.state('live', 5000 * SLOW)
    await s.moves()
    await s.hue(DOG)
  },
  { expected: SERVER_GONE },
)

story(
  '34: a restarted server is found again with the same prompt',
  async (s) => {
    await s.start()
    await s.take(DRAGON)
    await s.hue(DRAGON)
    await sleep(500)
    const offers = s.offers()
    await s.server.kill()
    await s.state('reconnecting', 2000 * SLOW)
    assert.match(await s.page.locator('section[aria-label="Stage"]').textContent(), /reconnecting/i)
    const stopped = await s.time()
    await sleep(1500)
    assert.equal(await s.time(), stopped, 'the clock stands while there is no server')
    await s.server.start()
    const back = Date.now()
    await s.state('live', 15_000 * 2)
    const live = Date.now()
    await s.hue(DRAGON)
    await s.moves()
    const ran = (await s.time()) - stopped
    const allowed = (Date.now() - live) / 1000 + 1
    assert.ok(ran <= allowed, `the clock ran ${ran} s, live for ${allowed} s; reconnected after ${live - back} ms`)
    assert.ok(s.offers() > offers)
    assert.equal(await s.prompt().inputValue(), DRAGON)
    assert.deepEqual(
      (await s.blocks()).map(({ text }) => text),
      [DOG, DRAGON],
    )
  },
  { expected: SERVER_GONE, timeout: 120_000 },
)

story(
  '35: out of memory stays on screen and offers a smaller size',
  async (s) => {
    await s.start()
    await sleep(1000)
    const full = await s.size()
    await s.inject({
      type: 'stream_stopped',
      error_message: 'CUDA out of memory. Tried to allocate 2.50 GiB',
      error_code: 'out_of_memory',
    })
    await s.tid('error-card').waitFor()
    assert.equal(await s.currentState(), 'failed')
    await until(
      'the clock is at zero',
      async () => (await s.time()) === 0,
      1000,
      () => s.time(),
    )
    await sleep(30_500)
    assert.equal(await s.tid('error-card').isVisible(), true)
    assert.equal(await s.time(), 0)
    assert.match(await s.tid('error-card').textContent(), /memory/i)
    const smaller = s.page.getByRole('button', { name: /^Use \d+ × \d+$/ })
    const [width, height] = (await smaller.textContent()).match(/\d+/g).map(Number)
    assert.ok(width * height < full[0] * full[1], `${width} × ${height}, ${full} before`)
    await smaller.click()
    await s.state('live', 20_000)
    await until('the picture is smaller', async () => String(await s.size()) === String([width, height]))
    await s.hue(DOG)
  },
  { timeout: 120_000 },
)
