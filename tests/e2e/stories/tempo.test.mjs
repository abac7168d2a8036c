import assert from 'node:assert/strict'
import { hue, hueDistance, hueOf, luma } from '../lib/card.mjs'
import { DOG, HUE_TOLERANCE } from '../lib/story.mjs'
import { inspect, suite } from '../lib/suite.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const { story } = suite()

const MARS = 'a robot walking on mars'
const CLOUDS = 'a dragon flying through clouds'

async function panel(s) {
  await s.tid('tempo-button').click()
  await s.tid('tempo-panel').getByText('Tempo', { exact: true }).waitFor()
}

async function closePanel(s) {
  await s.page.keyboard.press('Escape')
  await s.tid('tempo-panel').waitFor({ state: 'detached' })
}

/** Switches tempo on at a rate, with what else the panel has. */
async function tempo(s, bpm, { quantize, countIn, bar, ahead } = {}) {
  await panel(s)
  if ((await s.tid('tempo-on').getAttribute('data-state')) !== 'checked') await s.tid('tempo-on').click()
  await s.tid('tempo-input').fill(String(bpm))
  await s.tid('tempo-input').press('Enter')
  if (bar) {
    await s.tid('tempo-bar').fill(String(bar))
    await s.tid('tempo-bar').press('Enter')
  }
  if (ahead) {
    await s.tid('tempo-lookahead').fill(String(ahead))
    await s.tid('tempo-lookahead').press('Enter')
  }
  if (quantize) await s.tid('tempo-quantize').getByText(quantize, { exact: true }).click()
  if (countIn) await s.tid('tempo-count-in').getByText(countIn, { exact: true }).click()
  await closePanel(s)
}

/** The key that says where the one is, and when it was pressed, by the page's clock. */
async function one(s) {
  await s.eval(() => document.activeElement?.blur())
  return s.eval(() => {
    window.dispatchEvent(new KeyboardEvent('keydown', { key: 'y', code: 'KeyY', bubbles: true }))
    return performance.now()
  })
}

const shows = (frame, text) => hueDistance(hue(frame.rgb), hueOf(text)) <= HUE_TOLERANCE

/** When the pictures of `frames` first showed a prompt and never the one before again, null if they did not. */
function changedAt(frames, text) {
  const first = frames.findIndex((_, i) => frames.slice(i, i + 3).every((frame) => shows(frame, text)))
  return first < 0 ? null : frames[first].at
}

const messages = async (s, key, from) => (await s.sent(from)).filter((message) => key in message)

story('59: a take waits for its bar: the picture changes on it and not before; it can be cancelled', async (s) => {
  await s.start()
  await tempo(s, 60, { quantize: 'Bar' })
  await s.hue(DOG)
  let began
  let told
  const frames = await s.watching(async () => {
    began = await one(s)
    await s.take(MARS)
    await s.tid('waiting-take').waitFor()
    told = await s.tid('waiting-take').textContent()
    // Nothing is on air that waits.
    assert.equal((await s.blocks()).length, 1)
    assert.equal(await s.tid('air-state').getAttribute('data-state'), 'edited')
    await s.tid('waiting-take').waitFor({ state: 'detached', timeout: 4000 + 1500 * SLOW })
    await s.hue(MARS)
  })
  assert.match(told, /Waits: on the next bar/)
  const changed = changedAt(frames, MARS) - began
  assert.ok(changed > 3900, `the picture changed ${changed} ms after the one, and the bar is 4000 long`)
  assert.ok(changed < 4000 + 800 * SLOW, `the picture changed only ${changed} ms after the one`)
  assert.ok(
    frames.filter(({ at }) => at < began + 3800).every((frame) => shows(frame, DOG)),
    'what was on air stayed in the picture until then',
  )
  // The block begins where the server applied it, and the bar of the timeline is there.
  const [, block] = await s.blocks()
  assert.equal(block.text, MARS)
  assert.equal(await s.tid('air-state').getAttribute('data-state'), 'on-air')

  await s.take(CLOUDS)
  await s.tid('waiting-time').and(s.page.locator(':not(:empty)')).waitFor()
  assert.deepEqual(await inspect(s.page, 'waiting'), [])
  await s.tid('cancel-take').click()
  await s.tid('waiting-take').waitFor({ state: 'detached' })
  const after = await s.watching(() => sleep(5000))
  assert.ok(
    after.every((frame) => shows(frame, MARS)),
    'the cancelled take never came',
  )
  assert.equal((await s.blocks()).length, 2)
})

story('60: bars of three: a hard cut waits for the second of them, or comes as much earlier as wished', async (s) => {
  await s.start()
  await tempo(s, 120, { quantize: '2 bars', bar: 3 })
  await s.hue(DOG)
  const takesMs = async (text) => {
    let began
    const frames = await s.watching(async () => {
      began = await one(s)
      await s.take(text, 'Alt+Enter')
      await s.hue(text, 3000 + 1500 * SLOW)
    })
    return changedAt(frames, text) - began
  }
  // Two bars of three half seconds.
  const changed = await takesMs(MARS)
  assert.ok(changed > 2900 && changed < 3000 + 800 * SLOW, `the picture changed ${changed} ms after the one`)
  await tempo(s, 120, { ahead: 1000 })
  const earlier = await takesMs(CLOUDS)
  assert.ok(earlier > 1900 && earlier < changed - 500, `the picture changed ${earlier} ms after the one`)
  // And the beat that the server knows is the true one again.
  const from = await s.sentCount()
  const [told] = await until(
    'the beat is told',
    async () => {
      const beats = await messages(s, 'beat_phase', from)
      return beats.length > 0 && beats
    },
    3000,
  )
  assert.equal(told.bpm, 120)
})

/** How often a series crosses its middle upwards, with some room for noise. */
function rises(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const [under, over] = [low + (high - low) * 0.35, low + (high - low) * 0.65]
  let below = values[0] < under
  let count = 0
  for (const value of values) {
    if (below && value > over) count += 1
    if (value > over) below = false
    else if (value < under) below = true
  }
  return count
}

story('61: a modulated parameter swings with the beat, and after a reload still does', async (s) => {
  await s.start()
  await tempo(s, 60)
  await s.tid('param-noise_scale').click({ button: 'right' })
  await s.page.getByRole('menuitem', { name: 'Modulate with the beat' }).click()
  const editor = s.tid('swing-editor')
  await editor.waitFor()
  await s.choose('swing-rate', '2 beats')
  const brightness = async (ms) => {
    const frames = await s.watching(() => sleep(ms))
    return frames.map(({ rgb }) => luma(rgb))
  }
  const swings = async () => {
    // Eight seconds are four times two beats.
    const values = await brightness(8000)
    const count = rises(values)
    assert.ok(count >= 3 && count <= 5, `${count} swings in eight seconds`)
    const share = Math.min(...values) / Math.max(...values)
    // 0.7 ± 0.3 is 0.58 to 1 of the full brightness.
    assert.ok(share < 0.75 && share > 0.5, `the darkest picture has ${share} of the brightest`)
  }
  await s.sleep(1000)
  await swings()
  assert.deepEqual(await inspect(s.page, 'editor'), [])
  await s.tid('swing-mark-noise_scale').locator('span').first().waitFor({ state: 'attached' })
  const now = () => s.tid('swing-now-noise_scale').textContent()
  const first = await now()
  await until('the value is painted', async () => (await now()) !== first)

  await s.page.reload()
  await s.tid('start-stream-button').and(s.page.locator(':enabled')).click()
  await s.state('live', 20_000)
  await s.sleep(1000)
  await swings()

  await panel(s)
  assert.match(await s.tid('swing-entry').textContent(), /Noise Scale.*Sine · 2 beats/)
  await s.tid('swing-stop-all').click()
  await closePanel(s)
  await s.colour([[DOG, 1]], 0.7)
  const steady = await brightness(2500)
  assert.ok(Math.max(...steady) - Math.min(...steady) < 12, 'nothing swings any more')
})

/** A MIDI device whose clock the story starts and stops; it stamps its ticks exactly, as drivers do. */
function stubClock() {
  const input = { id: 'stub', name: 'Stub Clock', state: 'connected', onmidimessage: null }
  const say = (timeStamp, ...data) => input.onmidimessage?.({ data: Uint8Array.from(data), timeStamp })
  let timer
  window.midiClock = (bpm) => {
    clearInterval(timer)
    if (bpm === null) {
      say(performance.now(), 0xfc)
      return
    }
    const gap = 60000 / bpm / 24
    let next = performance.now()
    say(next, 0xfa)
    timer = setInterval(() => {
      for (; next <= performance.now(); next += gap) say(next, 0xf8)
    }, 4)
  }
  navigator.requestMIDIAccess = async () => ({ inputs: new Map([[input.id, input]]), onstatechange: null })
}

story(
  '62: a MIDI clock sets the tempo; when it stops there is no beat',
  async (s) => {
    await s.context.addInitScript(stubClock)
    await s.open()
    await s.start()
    await panel(s)
    await s.tid('tempo-source').getByText('MIDI clock').click()
    await until('it says that no clock is heard', async () =>
      (await s.tid('tempo-midi').textContent()).includes('No MIDI clock is heard'),
    )
    assert.equal(await s.tid('beat-light').textContent(), '')
    await s.eval(() => window.midiClock(90))
    const bpm = async () => Number(await s.tid('tempo-bpm').textContent())
    await until('the tempo is 90', async () => Math.abs((await bpm()) - 90) < 1, 5000, bpm)
    await until('the beat is seen', async () => /[1-4]/.test(await s.tid('beat-light').textContent()))
    await until('it follows', async () => (await s.tid('tempo-midi').textContent()).includes('Follows the MIDI clock'))
    const from = await s.sentCount()
    await until('the server hears it', async () => (await messages(s, 'beat_phase', from)).length >= 2, 4000)
    const [told] = await messages(s, 'beat_phase', from)
    assert.ok(Math.abs(told.bpm - 90) < 1, `${told.bpm} was told`)
    assert.deepEqual(await inspect(s.page, 'panel'), [])

    await s.eval(() => window.midiClock(140))
    await until('the tempo is 140', async () => Math.abs((await bpm()) - 140) < 1.5, 5000, bpm)
    await s.eval(() => window.midiClock(null))
    await until('it says so', async () => (await s.tid('tempo-midi').textContent()).includes('has stopped'), 3000)
    const stopped = await s.sentCount()
    await s.sleep(1500)
    assert.deepEqual(await messages(s, 'beat_phase', stopped), [])
  },
  { open: false },
)

story('63: taps are a tempo; the beat is told twice a second, and not while tempo is off', async (s) => {
  await s.start()
  await s.eval(() => document.activeElement?.blur())
  assert.equal(await s.tid('tempo-button').getAttribute('data-on'), 'false')
  await s.eval(async () => {
    const begun = performance.now()
    for (let i = 0; i < 8; i++) {
      while (performance.now() < begun + i * 500) await new Promise((resolve) => setTimeout(resolve, 1))
      window.dispatchEvent(new KeyboardEvent('keydown', { key: 't', code: 'KeyT', bubbles: true }))
    }
  })
  const bpm = async () => Number(await s.tid('tempo-bpm').textContent())
  await until('the tempo is 120', async () => Math.abs((await bpm()) - 120) < 4, 2000, bpm)
  let from = await s.sentCount()
  await s.sleep(4000)
  const beats = await messages(s, 'beat_phase', from)
  assert.ok(beats.length >= 6 && beats.length <= 9, `${beats.length} messages in four seconds`)
  await s.page.keyboard.press('Shift+t')
  await until('tempo is off', async () => (await s.tid('tempo-button').getAttribute('data-on')) === 'false')
  from = await s.sentCount()
  await s.sleep(1500)
  assert.deepEqual(await messages(s, 'beat_phase', from), [])

  // The panel has the keys too, but for its boxes.
  await panel(s)
  await s.page.keyboard.press('Shift+t')
  await until('it is on', async () => (await s.tid('tempo-on').getAttribute('data-state')) === 'checked')
  await s.tid('tempo-input').focus()
  await s.page.keyboard.press('Shift+t')
  assert.equal(await s.tid('tempo-on').getAttribute('data-state'), 'checked')
  await s.page.keyboard.press('Escape')
  await closePanel(s)

  // Kept with the work.
  const before = await bpm()
  await s.sleep(1500)
  await s.page.reload()
  await s.tid('tempo-bpm').waitFor()
  assert.equal(await bpm(), before)
})

story('64: a count-in holds the clock of the takes; ruler, readout and snapping know bars and beats', async (s) => {
  await tempo(s, 120, { countIn: '2 bars' })
  await s.start()
  await s.tid('count-in').waitFor()
  assert.match(await s.tid('count-in-number').textContent(), /^\d+$/)
  assert.equal(await s.time(), 0)
  assert.equal((await s.blocks()).length, 0)
  assert.deepEqual(await inspect(s.page, 'counting'), [])
  await s.tid('count-in').waitFor({ state: 'detached', timeout: 8000 })
  await until('the clock runs', async () => (await s.time()) > 0.2)
  // It began with a bar.
  const place = async () => (await s.tid('timeline-bars').textContent()).split(':').map(Number)
  await until('the second bar', async () => (await place())[0] === 2, 6000, place)
  const [time, [bar, beat]] = [await s.time(), await place()]
  const beats = (bar - 1) * 4 + beat - 1
  assert.ok(Math.abs(time - beats / 2) < 0.6 + 0.1 * SLOW, `${time} s is not ${bar}:${beat}`)
  await until('four seconds are there', async () => (await s.time()) > 4.2, 8000)
  await s.stop()

  const labels = await s.tid('ruler-label').allTextContents()
  assert.equal(labels[0], '1')
  const ruler = await s.tid('timeline-ruler').boundingBox()
  // 40 pixels a second; a little beside the beat at 1.5 s.
  await s.page.mouse.click(ruler.x + 63, ruler.y + ruler.height - 6)
  const head = async () => Number(await s.tid('playhead').getAttribute('aria-valuenow'))
  await until('the playhead is on a beat', async () => Math.abs((await head()) - 1.5) < 0.06, 2000, head)
  assert.deepEqual(await place(), [1, 4])
})

story('66: the cache is reset on the beat where the pipeline has one', async (s) => {
  await s.start()
  await tempo(s, 120)
  await s.sleep(3000)
  const highest = async (ms) => {
    const frames = await s.watching(() => sleep(ms))
    return Math.max(...frames.map(({ counter }) => counter))
  }
  assert.ok((await highest(500)) > 30, 'nothing resets it so far')
  await panel(s)
  await s.choose('tempo-reset', 'Every 4 beats')
  await closePanel(s)
  // 15 pictures a second, and two seconds between the resets.
  await s.sleep(2500)
  assert.ok((await highest(4500)) < 30 + 5 * SLOW, 'the counter of the pictures begins anew every two seconds')
})

story(
  '65: on a phone the tempo is tapped, changed and switched off with a thumb',
  async (s) => {
    await s.tid('tempo-button').click()
    await s.tid('tempo-tap').waitFor()
    for (let i = 0; i < 6; i++) {
      await s.tid('tempo-tap').tap()
      await s.sleep(450)
    }
    await until('there is a tempo', async () => (await s.tid('tempo-on').getAttribute('data-state')) === 'checked')
    const found = Number(await s.tid('tempo-input').inputValue())
    assert.ok(found !== 120 && found > 60 && found < 140, `${found} beats a minute`)
    const sizes = await s
      .tid('tempo-panel')
      .locator('button')
      .evaluateAll((all) => all.map((node) => node.getBoundingClientRect().height))
    assert.ok(Math.min(...sizes) >= 24, 'everything is large enough')
    assert.equal(
      await s.eval(() => document.documentElement.scrollWidth <= window.innerWidth),
      true,
      'nothing is cut off',
    )
    await s.tid('tempo-on').tap()
    await until('tempo is off', async () => (await s.tid('tempo-on').getAttribute('data-state')) === 'unchecked')
  },
  { viewport: { width: 390, height: 844 }, touch: true },
)

story(
  '67: light, countdown and swing are painted: React stays quiet',
  async (s) => {
    await s.context.addInitScript(() => localStorage.setItem('scopeTest', '1'))
    await s.open()
    await s.start()
    await tempo(s, 120, { quantize: '4 bars' })
    await s.tid('param-noise_scale').click({ button: 'right' })
    await s.page.getByRole('menuitem', { name: 'Modulate with the beat' }).click()
    await s.tid('swing-editor').waitFor()
    await one(s)
    await s.take(MARS)
    await s.tid('waiting-take').waitFor()
    await s.page.mouse.move(700, 2)
    await s.sleep(1000)
    const look = () =>
      s.eval(() => ({
        commits: window.__scopeCommits,
        light: document.querySelector('[data-testid="beat-light"]').textContent,
        swing: document.querySelector('[data-testid="swing-now-noise_scale"]').textContent,
        left: document.querySelector('[data-testid="waiting-time"]').textContent,
      }))
    const before = await look()
    const lights = new Set()
    for (let i = 0; i < 20; i++) {
      lights.add((await look()).light)
      await s.sleep(200)
    }
    const after = await look()
    assert.deepEqual([...lights].sort(), ['1', '2', '3', '4'])
    assert.notEqual(after.left, before.left)
    const commits = (after.commits - before.commits) / 4
    assert.ok(commits <= 2, `${commits} React commits a second`)

    const glows = async () => {
      const seen = new Set()
      for (let i = 0; i < 25; i++) {
        seen.add(await s.tid('beat-light').evaluate((node) => node.style.getPropertyValue('--glow')))
        await s.sleep(40)
      }
      return [...seen]
    }
    assert.ok((await glows()).length > 1, 'the light goes on and out')
    await s.page.emulateMedia({ reducedMotion: 'reduce' })
    await s.sleep(200)
    assert.deepEqual(await glows(), ['0%'], 'and does not for whom less should move')
  },
  { open: false },
)
