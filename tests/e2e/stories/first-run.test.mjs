import assert from 'node:assert/strict'
import { colourClip } from '../lib/media.mjs'
import { TOKEN } from '../lib/server.mjs'
import { DOG } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const { story } = suite()
const RED = [255, 0, 0]

story(
  '1: the first page is ready to play, and nothing leaves the machine',
  async (s) => {
    const begun = Date.now()
    await s.page.goto(`${s.server.origin}/?token=${TOKEN}`)
    await s.tid('start-stream-button').waitFor()
    await until(
      'the input moves',
      () =>
        s.motion('input-preview', 250).then(
          (motion) => motion > 1,
          () => false,
        ),
      2000 * SLOW - (Date.now() - begun),
    )
    assert.ok(Date.now() - begun < 2000 * SLOW)
    assert.ok((await s.px('input-preview')).variance > 200)
    assert.equal(await s.prompt().inputValue(), DOG)
    const mode = s.tid('mode-toggle').getByText('Video', { exact: true })
    assert.equal(await mode.getAttribute('data-state'), 'on')
    assert.equal(await s.page.getByRole('dialog').count(), 0)
    assert.equal(await s.tid('start-stream-button').isEnabled(), true)
  },
  { open: false },
)

story('3: Start goes through its states in order with one load request', async (s) => {
  await s.pipeline('Passthrough')
  await s.eval(() => window.e2e.states())
  const begun = Date.now()
  await s.tid('start-stream-button').click()
  await s.state('live', 5000 * SLOW)
  await until('a picture is on the stage', () => s.px().then((px) => px && px.variance > 100), 2000 * SLOW)
  assert.ok(Date.now() - begun < 5000 * SLOW)
  const words = (await s.eval(() => window.e2e.words)).filter((word) =>
    ['loading', 'connecting', 'live'].includes(word),
  )
  assert.deepEqual(words, ['loading', 'connecting', 'live'])
  assert.equal(s.loads(), 1)
  assert.equal(s.offers(), 1)
})

story('4: passthrough shows the cat, in the chosen size', async (s) => {
  await s.start({ pipeline: 'Passthrough' })
  await sleep(1500)
  const seen = await s.eval(async () => {
    const watches = ['input-preview', 'stage-video'].map((id) => window.e2e.watch(id))
    await new Promise((resolve) => setTimeout(resolve, 4000))
    return watches.map((watch) => watch.stop())
  })
  const [input, stage] = seen
  const far = (a, b) => [...a].filter((bit, i) => bit !== b[i]).length
  const late = stage.filter(({ at }) => at > stage[0].at + 1500)
  assert.ok(late.length > 10, `only ${late.length} frames on the stage in 2.5 s`)
  // Each shown picture was in the preview at most a second before.
  const distances = late.map(({ at, hash }) =>
    Math.min(
      ...input.filter((frame) => frame.at <= at + 50 && frame.at >= at - 1000 * SLOW).map((f) => far(f.hash, hash)),
    ),
  )
  distances.sort((a, b) => a - b)
  const worst = distances[Math.floor(distances.length * 0.9)]
  assert.ok(worst <= 10, `hashes differ by ${distances}`)
  const size = await s.eval(() => {
    const { videoWidth, videoHeight } = document.querySelector('[data-testid="stage-video"]')
    return `${videoWidth} × ${videoHeight}`
  })
  assert.ok((await s.page.locator('figcaption').textContent()).includes(`sent as ${size}`), size)
})

story('4b: a prompt is on air only where the pipeline takes prompts', async (s) => {
  const air = async () => {
    const chip = s.tid('air-state')
    const lit = await s.page.locator('[data-testid^="deck-slot-"][data-state="on-air"]').count()
    return `${await chip.getAttribute('data-state')}, ${lit} lit`
  }
  await s.prompt().press('Control+Enter')
  await s.start({ pipeline: 'Passthrough' })
  assert.equal(await air(), 'unused, 0 lit')
  await s.page.getByText('Passthrough does not use prompts').waitFor()
  await s.pipeline('Test card')
  await s.tid('apply-reload').click()
  await until('the test card is live', async () => (await air()) === 'on-air, 1 lit' && (await s.blocks()).length === 2)
  const blocks = await s.blocks()
  assert.deepEqual(
    blocks.map(({ text, live }) => [text, live]),
    [
      ['No prompt', false],
      [DOG, true],
    ],
  )
  await s.pipeline('Passthrough')
  await s.stop()
  assert.equal(await air(), 'unused, 0 lit')
})

story('5: the camera and back, without a new offer', async (s) => {
  await s.start({ pipeline: 'Passthrough' })
  await s.source('Camera')
  await s.nearly(RED, 5000 * SLOW)
  await s.tid('camera-select').click()
  const names = await s.page.getByRole('option').allInnerTexts()
  // Chromium names its fake camera after the clip.
  assert.ok(
    names.some((name) => /red\.y4m|fake/i.test(name)),
    `cameras: ${names}`,
  )
  await s.page.keyboard.press('Escape')
  await s.source('File')
  await until('the cat is back', async () => (await s.px()).variance > 200, 2000 * SLOW)
  assert.equal(s.offers(), 1)
  assert.equal(await s.currentState(), 'live')
})

story(
  '5b: a screen is a source; when it is no longer shared, or after a reload, it is asked for again',
  async (s) => {
    await s.context.addInitScript(() => {
      window.captures = []
      navigator.mediaDevices.getDisplayMedia = async () => {
        if (window.refuse) throw new DOMException('no', 'NotAllowedError')
        const canvas = document.createElement('canvas')
        const context = canvas.getContext('2d')
        const paint = () => {
          context.fillStyle = '#00f000'
          context.fillRect(0, 0, canvas.width, canvas.height)
        }
        setInterval(paint, 50)
        const stream = canvas.captureStream(20)
        window.captures.push(stream.getVideoTracks()[0])
        return stream
      }
    })
    await s.open()
    await s.start({ pipeline: 'Passthrough' })
    const offers = s.offers()
    await s.source('Screen')
    await s.nearly([0, 240, 0])
    assert.equal(s.offers(), offers)
    await s.eval(() => {
      window.captures[0].stop()
      window.captures[0].dispatchEvent(new Event('ended'))
    })
    await s.tid('source-error').getByText('no longer shared').waitFor()
    assert.equal(await s.currentState(), 'live')
    await s.tid('source-error').getByRole('button', { name: 'Try again' }).click()
    await s.tid('source-error').waitFor({ state: 'detached' })
    await s.nearly([0, 240, 0])
    assert.equal(await s.eval(() => window.captures.length), 2)

    await s.page.reload()
    await s.tid('source-error').getByText('no longer shared').waitFor()
    assert.equal(await s.eval(() => window.captures.length), 0, 'nobody is asked who has just opened the page')
    await s.eval(() => {
      window.refuse = true
    })
    await s.tid('source-error').getByRole('button', { name: 'Try again' }).click()
    await s.tid('source-error').getByText('Nothing was chosen').waitFor()
    await s.tid('source-error').getByRole('button', { name: 'Use the file' }).click()
    await until('the cat moves', async () => (await s.motion('input-preview', 300)) > 1, 2000 * SLOW)
  },
  { open: false },
)

story('6: an uploaded clip plays at once; a text file changes nothing', async (s) => {
  await s.start({ pipeline: 'Passthrough' })
  const clip = colourClip(s.folder, 'green')
  await s.tid('video-upload').setInputFiles(clip)
  // ffmpeg's "green" is #008000.
  await s.nearly([0, 128, 0], 2000 * SLOW)
  await s
    .tid('video-upload')
    .setInputFiles({ name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('not a picture') })
  await s.tid('source-error').waitFor()
  assert.match(await s.tid('source-error').textContent(), /not a video/i)
  const shown = () =>
    s.eval(() => document.querySelector('[data-testid="stage-video"]').getVideoPlaybackQuality().totalVideoFrames)
  const before = await shown()
  await until('frames go on', async () => (await shown()) > before + 5)
  await s.nearly([0, 128, 0])
  assert.equal(await s.currentState(), 'live')
  assert.equal(s.offers(), 1)
})
