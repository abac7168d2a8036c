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
