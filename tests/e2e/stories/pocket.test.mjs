import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { apart } from '../lib/card.mjs'
import { DOG } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import { SLOW, until } from '../lib/wait.mjs'

const { story } = suite()
const ROBOT = 'a robot walking on mars'
/** A model computes beside browser and codecs here: waits end with what they wait for, these only bound them. */
const PATIENT = 20_000 * SLOW
const LONG = { timeout: 100_000 * SLOW }
const VIDEOS = ['input-preview', 'stage-video']

const moves = (s) =>
  until(
    'the picture moves',
    async () => (await s.motion('stage-video', 500)) > 0.5,
    PATIENT,
    () => s.motion('stage-video', 500),
  )

async function play(s, mode) {
  await s.pipeline('Pocket')
  await s.mode(mode)
  await s.tid('start-stream-button').click()
  await s.state('live', PATIENT)
}

story(
  '45a: a newcomer gets a generated picture with one click',
  async (s) => {
    // Clients expect a server on which nothing is loaded, whatever it has prepared.
    assert.equal((await s.server.api('/api/v1/pipeline/status')).status, 'not_loaded')
    assert.match(await s.tid('pipeline-select').textContent(), /Pocket/)
    assert.equal(await s.prompt().inputValue(), DOG)
    await s.tid('stage-start').click()
    await s.state('live', PATIENT)
    await moves(s)
    const { variance } = await s.px()
    assert.ok(variance > 300, `variance ${variance}`)
    assert.equal(s.loads(), 1)
    assert.equal(s.offers(), 1)
    assert.equal(await s.tid('error-card').count(), 0)
    // What was prepared was used: the model has been loaded once.
    assert.equal(s.server.log.match(/ loading pipeline="pocket"/g).length, 1, s.server.log)
  },
  { ...LONG, fresh: true },
)

const mean = (vectors) => vectors[0].map((_, i) => vectors.reduce((sum, each) => sum + each[i], 0) / vectors.length)
const distance = (a, b) => Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0) / a.length)
const rgbOf = (features) => [0, 1, 2].map((c) => features.filter((_, i) => i % 3 === c).reduce((a, b) => a + b) / 64)

story(
  '45: another prompt is another picture',
  async (s) => {
    const look = (count) => s.eval((n) => window.e2e.features('stage-video', n), count)
    await play(s, 'Text')
    await moves(s)
    /** What a prompt looks like once it has come: the first look may still see the change. */
    const settled = async () => {
      await look(24)
      return look(24)
    }
    const dog = await settled()
    await s.take(ROBOT)
    const middle = mean(dog)
    const within = Math.max(...dog.map((each) => distance(each, middle)))
    await until(
      'the picture is another one',
      async () => distance(mean(await look(4)), middle) > 3 * within,
      PATIENT,
      async () => [distance(mean(await look(4)), middle), within],
    )
    const robot = await settled()
    const between = distance(mean(robot), middle)
    const spread = Math.max(within, ...robot.map((each) => distance(each, mean(robot))))
    assert.ok(between > 2 * spread, `${between} between the prompts, ${spread} within one`)
    const colours = apart(rgbOf(mean(robot)), rgbOf(middle))
    assert.ok(colours > 12, `mean colours are ${colours} apart`)
    // The same test does not tell one prompt from itself.
    const [first, second] = [mean(dog.slice(0, 12)), mean(dog.slice(12))]
    const apartAlone = distance(first, second)
    assert.ok(apartAlone < between / 2, `one prompt is ${apartAlone} from itself, ${between} from the other`)
    await moves(s)
  },
  LONG,
)

/** Between what was measured with a prompt alone, and following the cat. */
const SAME_EDGES = 0.35
const SAME_LUMA = 0.2

story(
  '46: in video mode the picture follows the cat, the less the more noise hides it',
  async (s) => {
    const FRAMES = 24
    const layout = () => s.eval(([ids, n]) => window.e2e.sameLayout(ids, n), [VIDEOS, FRAMES])
    const noise = (noise_scale) => {
      const json = { noise_scale, noise_controller: false, prompts: [{ text: DOG, weight: 100 }], reset_cache: true }
      return s.server.api('/api/v1/session/parameters', { method: 'POST', json })
    }
    /** Two looks: the first may still see what was before. */
    const settled = async () => {
      await layout()
      return layout()
    }
    await play(s, 'Video')
    await moves(s)
    assert.equal(await s.tid('param-noise_scale').getAttribute('aria-valuenow'), '0.7')
    const seen = { at07: await settled() }
    await noise(0.5)
    seen.at05 = await settled()
    await noise(1)
    seen.at10 = await settled()
    await s.stop()
    // The cat goes on in the element that the source panel showed.
    await play(s, 'Text')
    seen.text = await settled()
    const all = JSON.stringify(seen)
    assert.ok(seen.at05.edges > SAME_EDGES, `edges at noise 0.5: ${all}`)
    assert.ok(seen.at10.edges < seen.at05.edges, `edges at noise 1: ${all}`)
    assert.ok(seen.text.edges < SAME_EDGES, `edges without the cat: ${all}`)
    assert.ok(seen.at07.luma > SAME_LUMA, `luma at noise 0.7: ${all}`)
    assert.ok(seen.text.luma < SAME_LUMA, `luma without the cat: ${all}`)
  },
  LONG,
)

/** Memory of the server in MiB, where the system says. */
function memory(pid) {
  const path = `/proc/${pid}/status`
  return existsSync(path) ? Number(readFileSync(path, 'utf8').match(/^VmRSS:\s+(\d+)/m)[1]) / 1024 : null
}

story(
  '47a: start, stop and unload leave nothing behind',
  async (s) => {
    const after = []
    for (let round = 0; round < 3; round++) {
      await play(s, 'Text')
      await moves(s)
      const loaded = memory(s.server.pid)
      await s.stop()
      await until('the server has let go', async () => (await s.server.sessions()).length === 0)
      await s.server.api('/api/v1/pipeline/unload', { method: 'POST', json: {} })
      assert.equal((await s.server.api('/api/v1/pipeline/status')).status, 'not_loaded')
      if (loaded === null) continue
      // Model and session take 75 to 87 MiB.
      await until(
        'the memory is free again',
        () => memory(s.server.pid) < loaded - 60,
        PATIENT,
        () => [loaded, memory(s.server.pid)],
      )
      after.push(memory(s.server.pid))
    }
    const grown = after.at(-1) - after[0]
    assert.ok(!(grown > 30), `memory after each round: ${after} MiB`)
    const peers = await s.eval(() => window.e2e.peers.map((peer) => peer.connectionState))
    assert.deepEqual(peers, Array(3).fill('closed'))
  },
  LONG,
)

story(
  '47b: a machine that is too slow makes less effort, says so, and recovers',
  async (s) => {
    const parameters = (json) => s.server.api('/api/v1/session/parameters', { method: 'POST', json })
    const reduced = () => s.tid('reduced-value').textContent()
    await s.start()
    assert.equal(await reduced(), '')
    await parameters({ delay_ms: 300 })
    await until('less effort is made', async () => (await reduced()) === 'half of the delay', PATIENT, reduced)
    await s.page.getByRole('status').getByText('goes on with half of the delay').waitFor()
    assert.equal(await s.tid('problem').count(), 0)
    await parameters({ adaptive_quality: false })
    await until('all effort is made', async () => (await reduced()) === '', PATIENT, reduced)
    await parameters({ adaptive_quality: true, delay_ms: 0 })
    await s.moves()
    assert.equal(await reduced(), '')
  },
  LONG,
)
