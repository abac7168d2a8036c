import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { apart, cardColour, hue, hueDistance, hueOf } from '../lib/card.mjs'
import { cardFrames, colourClip, pictures } from '../lib/media.mjs'
import { DOG, RGB_TOLERANCE } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import { COW, DRAGON, ROBOT } from '../lib/timeline.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const { story } = suite()
const RENDER_MS = 60_000

async function openAgain(s) {
  await s.tid('project-menu').click()
  await s.tid('project-again').click()
  await s.tid('again').waitFor()
}

const rows = (s) => s.tid('show')
const outcome = (s) => s.tid('again-outcome')

/** The file that is offered while `body` runs. */
async function saved(s, body, name) {
  const [download] = await Promise.all([s.page.waitForEvent('download', { timeout: RENDER_MS }), body()])
  const path = join(s.folder, name)
  await download.saveAs(path)
  return { path, name: download.suggestedFilename() }
}

/** The film of a show, once `body` has begun to render it. */
async function rendered(s, body, name) {
  await body()
  await s.tid('again-download').waitFor({ timeout: RENDER_MS })
  assert.equal(await outcome(s).getAttribute('data-kind'), 'done')
  return saved(s, () => s.tid('again-download').click(), name)
}

/** What lies in the folder of films on the server's disk, unfinished ones as well. */
function films(s) {
  const folder = join(s.server.folder, 'assets/recordings')
  return existsSync(folder) ? readdirSync(folder).sort() : []
}

/** Every frame of a show, and nothing else. */
function whole(frames, count) {
  assert.deepEqual(
    frames.map(({ number }) => number),
    Array.from({ length: count }, (_, i) => i),
  )
}

/** How many frames a row says that a show has. */
async function told(row) {
  return Number(/([\d,]+) frames ·/.exec(await row.textContent())[1].replaceAll(',', ''))
}

const SLOW_FRAMES = 120

/** A show that takes a while to render wherever this runs, as a file. */
async function openSlow(s) {
  const score = {
    format: 'scope-score',
    format_version: '1.0',
    pipeline_id: 'testcard',
    mode: 'text',
    load: {},
    frames: SLOW_FRAMES,
    exact: true,
    changes: [
      { frame: 0, parameters: { delay_ms: 200, prompts: [{ text: DOG, weight: 100 }] } },
      { frame: 60, parameters: { prompts: [{ text: COW, weight: 100 }] } },
    ],
  }
  await openScore(s, 'slow.scope-score.json', JSON.stringify(score))
  await rows(s).filter({ hasText: 'slow.scope-score' }).waitFor()
}

async function openScore(s, name, text) {
  const path = join(s.folder, name)
  writeFileSync(path, text)
  const [chooser] = await Promise.all([s.page.waitForEvent('filechooser'), s.tid('open-score').click()])
  await chooser.setFiles(path)
}

const percent = async (s) => Number(await s.tid('again').getByRole('progressbar').getAttribute('aria-valuenow'))

const showing = ({ rgb }, text) => hueDistance(hue(rgb), hueOf(text)) <= 6

/** Frame numbers at which another of the prompts is shown purely for the first time. */
function changes(frames, texts) {
  const found = []
  for (const frame of frames) {
    const text = texts.find((entry) => showing(frame, entry))
    if (text && found.at(-1)?.text !== text) found.push({ text, frame: frame.number })
  }
  return found
}

/** Dog, cow at once, dragon by a transition, robot with another brightness; recorded live from its first seconds on. */
async function perform(s) {
  await s.start()
  await s.tid('record-button').click()
  await until('it records', async () => (await s.tid('record-button').getAttribute('data-state')) === 'on')
  await sleep(1200)
  await s.take(COW)
  await s.hue(COW)
  await sleep(700)
  const slider = s.page.getByRole('slider', { name: 'Transition' })
  await slider.focus()
  for (let i = 0; i < 4; i++) await slider.press('ArrowRight')
  await s.take(DRAGON)
  await s.hue(DRAGON, 4000 * SLOW)
  await s.page.getByRole('slider', { name: 'Noise Scale' }).first().focus()
  await s.page.keyboard.press('Home')
  await sleep(700)
  await s.take(ROBOT)
  await s.hue(ROBOT, 4000 * SLOW)
  await sleep(800)
}

story(
  'a show rendered again has the same changes at the same frames as the live one',
  async (s) => {
    await perform(s)
    const live = await saved(s, () => s.tid('record-button').click(), 'live.mp4')
    await s.leaveBox()
    await s.stop()
    await openAgain(s)
    assert.equal(await rows(s).count(), 1)
    assert.match(await rows(s).textContent(), /Ended at .*Test card · Text · \d+ frames · \d+ changes.*Exact/)
    const count = await told(rows(s))
    const again = await rendered(s, () => s.tid('render-again').click(), 'again.mp4')
    assert.match(again.name, /^render-.*\.mp4$/)
    assert.match(await outcome(s).textContent(), new RegExp(`All ${count} frames of the show are in it`))
    assert.equal(await outcome(s).getByText('Not exact').count(), 0)

    const [before, after] = [live, again].map(({ path }) => cardFrames(path))
    whole(after, count)
    assert.ok(before.length > 60, `${before.length} frames were recorded live`)
    // Not only where it changes: every frame that the live recording has is the same picture.
    for (const frame of before) {
      const other = after[frame.number]
      assert.ok(other, `frame ${frame.number} is there`)
      assert.ok(apart(frame.rgb, other.rgb) <= 6, `frame ${frame.number}: ${frame.rgb} live, ${other.rgb} again`)
    }
    const texts = [DOG, COW, DRAGON, ROBOT]
    const first = before[0].number
    const [seen, made] = [changes(before, texts), changes(after.slice(first, before.at(-1).number + 1), texts)]
    assert.deepEqual(
      seen.map(({ text }) => text),
      texts,
    )
    assert.deepEqual(made, seen)

    // It is among the media, and plays where it is announced.
    const plays = () =>
      s
        .tid('again')
        .locator('video')
        .evaluate((film) => film.videoWidth)
    await until('the film is in the dialog', async () => (await plays()) > 0)
    assert.ok(films(s).includes(again.name), `${again.name} is one of ${films(s)}`)
    await s.page.getByRole('button', { name: 'Show recordings' }).click()
    await s.tid('library').waitFor()
  },
  { timeout: 150_000 },
)

story(
  'a show is rendered while it goes on: neither disturbs the other',
  async (s) => {
    const tell = (json) => s.server.api('/api/v1/session/parameters', { method: 'POST', json })
    await s.start()
    await tell({ delay_ms: 80 })
    await sleep(3000)
    await s.take(COW)
    await s.hue(COW)
    await sleep(3000)
    await openAgain(s)
    assert.match(await rows(s).textContent(), /On air now/)
    await s.tid('render-again').click()
    await s.tid('again-progress').waitFor()
    await s.page.keyboard.press('Escape')
    await s.tid('again-chip').waitFor()
    const counted = await s.counter()
    assert.equal((await s.server.sessions()).length, 1, 'no session is used up')
    // Whoever speaks to all that runs speaks to the stage only.
    await tell({ noise_scale: 0 })
    await s.take(DRAGON)
    await s.colour([[DRAGON, 100]], 0)
    assert.equal((await s.server.renders())[0].state, 'rendering')
    await s.moves()
    assert.ok((await s.counter()) > counted, 'the live picture has not begun anew')
    await s.page
      .getByText(/^Rendered render-/)
      .first()
      .waitFor({ timeout: RENDER_MS })
    assert.equal(await s.currentState(), 'live')
    assert.equal((await s.blocks()).length, 3)
    assert.equal(s.loads(), 1, 'nothing was loaded again')

    await openAgain(s)
    const film = await rendered(s, async () => undefined, 'beside.mp4')
    const frames = cardFrames(film.path)
    whole(frames, (await s.server.renders())[0].total_frames)
    const wanted = [DOG, COW].map((text) => cardColour([[text, 100]]))
    for (const { number, rgb } of frames) {
      assert.ok(
        wanted.some((colour) => apart(colour, rgb) <= RGB_TOLERANCE),
        `frame ${number} is ${rgb}`,
      )
    }
  },
  { timeout: 120_000 },
)

story('a rendering that is cancelled leaves nothing behind', async (s) => {
  const before = films(s)
  await openAgain(s)
  await openSlow(s)
  await s.tid('render-again').click()
  await until('frames are made', async () => (await percent(s)) > 0)
  assert.notDeepEqual(films(s), before, 'its film has been begun')
  await s.tid('again-cancel').click()
  await outcome(s).waitFor()
  assert.equal(await outcome(s).getAttribute('data-kind'), 'cancelled')
  assert.deepEqual(films(s), before)
  assert.equal((await s.server.renders())[0].state, 'cancelled')
  // The next one is not in its way.
  await s.tid('render-again').click()
  await until('frames are made', async () => (await percent(s)) > 0)
  await s.tid('again-cancel').click()
  await until('it has ended too', async () => films(s).length === before.length)
})

story(
  'a rendering outlives its page, and the next one shows it',
  async (s) => {
    await openAgain(s)
    await openSlow(s)
    await s.tid('render-again').click()
    await until('frames are made', async () => (await percent(s)) > 0)
    await s.page.reload()
    await s.tid('again-chip').click()
    assert.match(await s.tid('again-progress').textContent(), /Rendering · Test card.*of 120 frames/)
    assert.equal(await rows(s).count(), 0)
    const film = await rendered(s, async () => undefined, 'outlives.mp4')
    const frames = cardFrames(film.path)
    whole(frames, SLOW_FRAMES)
    assert.deepEqual(
      [0, 59, 60, SLOW_FRAMES - 1].map((i) => [DOG, COW].find((text) => showing(frames[i], text))),
      [DOG, DOG, COW, COW],
    )

    // What came of it can be read later as well, until it is dismissed; the film stays.
    await s.page.reload()
    await s.tid('start-stream-button').waitFor()
    assert.equal(await s.page.getByText(/^Rendered render-/).count(), 0, 'it is no news')
    await openAgain(s)
    await outcome(s).waitFor()
    await outcome(s).getByRole('button', { name: 'Dismiss' }).click()
    await outcome(s).waitFor({ state: 'detached' })
    await until('the server has forgotten it', async () => (await s.server.renders()).length === 0)
    assert.ok(films(s).includes(film.name))
  },
  { timeout: 120_000 },
)

story('what is on air comes first: its model is not taken away, and it may take one', async (s) => {
  await s.start()
  await sleep(2000)
  await s.stop()
  await s.start({ pipeline: 'Passthrough', mode: null })
  await openAgain(s)
  await rows(s).filter({ hasText: 'Ended at' }).getByTestId('render-again').click()
  await outcome(s).waitFor()
  assert.match(await outcome(s).textContent(), /Another session uses another model/)
  await s.page.keyboard.press('Escape')
  assert.equal(await s.currentState(), 'live')
  assert.equal((await s.server.sessions()).length, 1)
  await s.stop()

  await openAgain(s)
  await openSlow(s)
  await rows(s).filter({ hasText: 'slow.scope-score' }).getByTestId('render-again').click()
  await until('frames are made', async () => (await percent(s)) > 0)
  await s.page.keyboard.press('Escape')
  await s.tid('start-stream-button').click()
  await s.state('live', 20_000)
  await until('it says what became of the film', async () => (await s.tid('problem').count()) === 1)
  assert.match(await s.tid('problem').textContent(), /What is on air comes first/)
  assert.equal((await s.server.renders())[0].error.code, 'pipeline_unloaded')
})

story(
  'an exact score is saved, opened in another page and rendered there',
  async (s) => {
    await s.start()
    await sleep(1500)
    await s.take(COW)
    await s.hue(COW)
    await s.leaveBox()
    await openAgain(s)
    const file = await saved(s, () => s.tid('save-score').click(), 'show.scope-score.json')
    assert.match(file.name, /^scope-testcard-.*\.scope-score\.json$/)
    const score = JSON.parse(readFileSync(file.path, 'utf8'))
    assert.deepEqual([score.format, score.exact, score.pipeline_id], ['scope-score', true, 'testcard'])
    await s.page.keyboard.press('Escape')
    await s.stop()

    await s.page.reload()
    await s.tid('start-stream-button').waitFor()
    await openAgain(s)
    assert.equal(await rows(s).count(), 0)
    await openScore(s, 'show.scope-score.json', readFileSync(file.path, 'utf8'))
    await rows(s).waitFor()
    assert.match(await rows(s).textContent(), /show\.scope-score\.json/)
    const again = await rendered(s, () => s.tid('render-again').click(), 'opened.mp4')
    const frames = cardFrames(again.path)
    whole(frames, score.frames)
    const cow = score.changes.find(({ parameters }) => JSON.stringify(parameters ?? {}).includes(COW)).frame
    assert.ok(cow > 0)
    assert.ok(showing(frames[cow - 1], DOG), `frame ${cow - 1} still shows the dog`)
    assert.ok(showing(frames[cow], COW), `frame ${cow} shows the cow`)

    // What is wrong with a file is said before anything is done with it.
    await openScore(s, 'wrong.scope-score.json', JSON.stringify({ ...score, changes: [{ frame: -0.5 }] }))
    await s.tid('import-problem').waitFor()
    assert.match(await s.tid('import-problem').textContent(), /changes\[0\]\.frame/)
  },
  { timeout: 120_000 },
)

story(
  'a show over video asks for a clip, and says that it is not the same',
  async (s) => {
    await s.start({ mode: 'Video' })
    await sleep(1500)
    await s.stop()
    const clip = readFileSync(colourClip(s.folder, 'red'))
    const upload = await fetch(`${s.server.origin}/api/v1/assets?filename=red.webm`, {
      method: 'POST',
      headers: { authorization: 'Bearer browser-stories', 'content-type': 'application/octet-stream' },
      body: clip,
    })
    assert.equal(upload.status, 200)
    await openAgain(s)
    assert.match(await rows(s).textContent(), /Not exact.*made over a video/)
    assert.equal(await s.tid('render-again').isDisabled(), true)
    await s.choose('again-clip', 'red')
    const count = await told(rows(s))
    const again = await rendered(s, () => s.tid('render-again').click(), 'over.mp4')
    const frames = cardFrames(again.path)
    whole(frames, count)
    assert.ok(showing(frames[0], DOG))
    assert.match(await outcome(s).textContent(), /Not exact.*made over a video/)
  },
  { timeout: 120_000 },
)

story(
  'the same pictures come out of the same show, pixel for pixel, also beside another',
  async (s) => {
    const play = async () => {
      await s.tid('start-stream-button').click()
      await s.state('live', 20_000 * SLOW)
    }
    await s.pipeline('Pocket')
    await s.mode('Text')
    await play()
    await sleep(2000)
    await s.take(ROBOT)
    await sleep(2000)
    await s.leaveBox()
    await s.stop()
    const row = rows(s).filter({ hasText: 'Ended at' })
    const film = async (name) => {
      await openAgain(s)
      await row.getByTestId('render-again').click()
      await s.tid('again-progress').waitFor()
      const { path } = await rendered(s, async () => undefined, name)
      const hashes = pictures(path)
      assert.equal(hashes.length, await told(row))
      await s.page.keyboard.press('Escape')
      return hashes
    }
    const alone = await film('alone.mp4')
    assert.ok(new Set(alone).size > 10, 'they are not all the same')
    await play()
    assert.deepEqual(await film('beside.mp4'), alone)
    assert.equal(await s.currentState(), 'live')
    await s.stop()
  },
  { timeout: 120_000 * SLOW },
)
