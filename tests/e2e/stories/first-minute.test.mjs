import assert from 'node:assert/strict'
import { join } from 'node:path'
import { exported, imports } from '../lib/files.mjs'
import { film } from '../lib/film.mjs'
import { probe } from '../lib/media.mjs'
import { OUT } from '../lib/paths.mjs'
import { DOG } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const { story } = suite()
const ROBOT = 'a robot walking on mars'
const PATIENT = 20_000 * SLOW

story(
  '57: the first minute of a visitor, filmed',
  async (s) => {
    const path = join(OUT, 'first-minute.mp4')
    const camera = await film(s.page, path)
    const took = {}
    const began = Date.now()
    await s.open()
    await s.tid('stage-start').click()
    await until('there is a picture', async () => ((await s.px())?.variance ?? 0) > 300, PATIENT)
    took.picture = Date.now() - began

    const features = () => s.eval(() => window.e2e.features('stage-video', 1).then(([only]) => only))
    const before = await features()
    const asked = Date.now()
    await s.page.getByRole('button', { name: ROBOT }).first().click()
    const far = (a, b) => Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0) / a.length)
    await until('the picture is another', async () => far(await features(), before) > 12, PATIENT)
    took.prompt = Date.now() - asked
    await until(
      'the page says how long that took',
      async () => /\d/.test(await s.tid('latency-value').textContent()),
      PATIENT,
    )
    took.shown = await s.tid('latency-value').textContent()
    await sleep(1500)
    const texts = async () => (await s.blocks()).map(({ text }) => text)
    assert.deepEqual(await texts(), [DOG, ROBOT])

    await s.tid('record-button').click()
    await sleep(4000)
    const [download] = await Promise.all([s.page.waitForEvent('download'), s.tid('record-button').click()])
    const recording = probe(await download.path())
    assert.ok(recording.frames > 10 && recording.seconds > 2, JSON.stringify(recording))
    assert.deepEqual([recording.width, recording.height], await s.size())
    await s.stop()

    const { name, file } = await exported(s)
    assert.deepEqual(
      file.prompts.map(({ prompts }) => prompts[0].text),
      [DOG, ROBOT],
    )
    const blocks = await s.blocks()
    await s.page.getByRole('button', { name: 'Clear the timeline' }).click()
    assert.deepEqual(await texts(), [])
    await imports(s, name, file)
    await until('the takes are back', async () => (await texts()).length === 2)
    const times = (list) => list.map(({ start, end }) => [start, end])
    assert.deepEqual(times(await s.blocks()), times(blocks))

    const pictures = await camera.end()
    const filmed = probe(path)
    assert.ok(pictures > 20 && filmed.seconds > 8, `${pictures} pictures, ${filmed.seconds} s`)
    console.log(
      `picture after ${took.picture} ms, another prompt after ${took.prompt} ms (${took.shown} on the page); ${path}`,
    )
  },
  { timeout: 100_000 * SLOW, fresh: true, open: false },
)
