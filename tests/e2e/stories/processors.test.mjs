import assert from 'node:assert/strict'
import { hueOf } from '../lib/card.mjs'
import { DOG } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import { SLOW, until } from '../lib/wait.mjs'

const { story } = suite()
const COW = 'a cow walking in grass'

/** The stage's mean luma becomes one that `fits`. */
const luma = (s, what, fits) =>
  until(
    `the picture is ${what}`,
    async () => fits((await s.px()).luma),
    5000 * SLOW,
    () => s.px(),
  )
const grey = (s) =>
  until(
    'the picture has no colour',
    async () => {
      const rgb = await s.rgb()
      return Math.max(...rgb) - Math.min(...rgb) < 12
    },
    5000 * SLOW,
    () => s.rgb(),
  )

story('49: pictures pass what stands before and after the pipeline, each with parameters of its own', async (s) => {
  await s.pipeline('Passthrough')
  await s.choose('add-before', 'Edges')
  await s.tid('start-stream-button').click()
  await s.state('live')
  await luma(s, 'black lines on white paper', (value) => value > 190)
  await grey(s)
  assert.equal(s.loads(), 1)

  const before = await s.sentCount()
  await s.tid('param-before:edges-invert').click()
  await luma(s, 'white lines on black paper', (value) => value < 70)
  const told = (await s.sent(before)).filter((message) => 'invert' in message)
  assert.deepEqual(told, [{ node_id: 'before:edges', invert: true }])
  assert.equal(await s.tid('pending-bar').count(), 0, 'a live parameter needs no reload')

  await s.choose('add-after', 'Color')
  await s.tid('pending-bar').waitFor()
  assert.equal(s.loads(), 1, 'nothing reloads by itself')
  await s.page.getByRole('button', { name: 'Discard' }).click()
  assert.equal(await s.tid('node-after:color').count(), 0)
  await s.choose('add-after', 'Color')
  await s.tid('apply-reload').click()
  await until('the chain is live', async () => s.loads() === 2 && (await s.tid('pending-bar').count()) === 0)
  await s.state('live')
  await luma(s, 'still dark', (value) => value < 70)
  await s.tid('param-after:color-brightness').press('End')
  await luma(s, 'white', (value) => value > 240)

  // The choice is kept like every other, and a session starts with its values.
  await s.page.reload()
  await s.tid('node-before:edges').waitFor()
  await s.tid('start-stream-button').click()
  await s.state('live')
  await luma(s, 'white from the start', (value) => value > 240)
  assert.equal(await s.tid('param-before:edges-invert').getAttribute('data-state'), 'checked')
})

story('49b: the same processor on both sides has its own values on each', async (s) => {
  await s.pipeline('Test card')
  await s.mode('Text')
  await s.choose('add-after', 'Color')
  await s.tid('start-stream-button').click()
  await s.state('live')
  await s.hue(DOG)
  await s.take(COW)
  await s.hue(COW)
  // Without an input there is nothing before a pipeline.
  assert.equal(await s.tid('chain-before').count(), 0)
  await s.tid('param-after:color-saturation').press('Home')
  await grey(s)
  assert.notEqual(hueOf(DOG), hueOf(COW))

  await s.mode('Video')
  await s.choose('add-before', 'Color')
  await s.tid('apply-reload').click()
  await until('the chain is live', async () => (await s.tid('pending-bar').count()) === 0)
  await s.state('live')
  await grey(s)
  assert.equal(await s.tid('param-before:color-saturation').getAttribute('aria-valuenow'), '1')
  assert.equal(await s.tid('param-after:color-saturation').getAttribute('aria-valuenow'), '0')
})

story('49c: processors are put in order and taken away by keyboard', async (s) => {
  await s.pipeline('Passthrough')
  await s.choose('add-before', 'Edges')
  await s.choose('add-before', 'Color')
  const names = () => s.tid('chain-before').getByRole('heading', { level: 4 }).allTextContents()
  assert.deepEqual(await names(), ['Edges', 'Color'])
  await s.page.getByRole('button', { name: 'Move Color up' }).press('Enter')
  assert.deepEqual(await names(), ['Color', 'Edges'])
  await s.page.getByRole('button', { name: 'Remove Color' }).press('Enter')
  assert.deepEqual(await names(), ['Edges'])
})

story('49d: a change by another program reaches the node that it names', async (s) => {
  await s.pipeline('Passthrough')
  await s.choose('add-before', 'Color')
  await s.choose('add-after', 'Color')
  await s.tid('start-stream-button').click()
  await s.state('live')
  await s.server.api('/api/v1/session/parameters', {
    method: 'POST',
    json: { node_id: 'after:color', brightness: -1 },
  })
  await luma(s, 'black', (value) => value < 25)
  const value = (side) => s.tid(`param-${side}:color-brightness`).getAttribute('aria-valuenow')
  await until('the slider moves', async () => (await value('after')) === '-1')
  assert.equal(await value('before'), '0')
})

story(
  '49e: the input guides a model with VACE as its control video',
  async (s) => {
    // Made-up weights of the smallest size stand for the files; everything else is what a user gets.
    await s.page.route('**/api/v1/models/status*', (route) => route.fulfill({ json: { downloaded: true } }))
    await s.page.route('**/api/v1/models', async (route) => {
      const response = await route.fetch()
      const list = await response.json()
      for (const file of list.models.flatMap((model) => model.files)) Object.assign(file, { state: 'complete' })
      await route.fulfill({ response, json: list })
    })
    await s.page.route('**/api/v1/pipeline/load', (route) => {
      const body = route.request().postDataJSON()
      const family = body.pipelines.find(({ pipeline_id: id }) => id === 'longlive')
      family.load_params.random_weights = 'tiny'
      return route.continue({ postData: JSON.stringify(body) })
    })
    const edges = () => {
      const offer = s.requests.filter((request) => request.url().endsWith('/webrtc/offer')).at(-1)
      const { graph } = offer.postDataJSON().initialParameters
      return graph.edges.map((edge) => `${edge.from} > ${edge.to_node}.${edge.to_port}`)
    }
    await s.page.reload()
    await s.pipeline('LongLive')
    await s.mode('Video')
    for (const side of ['width', 'height']) {
      await s.tid(`param-${side}`).fill('64')
      await s.tid(`param-${side}`).press('Enter')
    }
    await s.choose('add-before', 'Edges')
    await s.tid('use-control').click()
    await s.tid('start-stream-button').click()
    await s.state('live', 20_000 * SLOW)
    assert.deepEqual(edges(), [
      'input > before:edges.video',
      'before:edges > longlive.vace_input_frames',
      'longlive > output.video',
    ])
    const before = await s.sentCount()
    await s.tid('param-vace_context_scale').press('Home')
    await until('the scale is told', async () => (await s.sent(before)).some((it) => it.vace_context_scale === 0))
    assert.equal(await s.tid('pending-bar').count(), 0)

    await s.tid('use-control').click()
    await s.tid('apply-reload').click()
    await until('the input is painted over', () => edges().includes('before:edges > longlive.video'), 5000 * SLOW)
    await s.state('live', 20_000 * SLOW)
  },
  { timeout: 60_000 * SLOW },
)
