import assert from 'node:assert/strict'
import { suite } from '../lib/suite.mjs'
import { SLOW, until } from '../lib/wait.mjs'

const { story } = suite({ browser: { camera: 'denied' } })

story('37: a refused camera is explained, and the file still plays', async (s) => {
  await s.source('Camera')
  await s.tid('source-error').waitFor()
  assert.match(await s.tid('source-error').textContent(), /blocked by the browser/i)
  await s.page.getByRole('button', { name: 'Use the file' }).click()
  await until('the cat moves', async () => (await s.motion('input-preview', 300)) > 1, 2000 * SLOW)
  assert.equal(await s.tid('source-error').count(), 0)
  await s.start({ pipeline: 'Passthrough' })
  await until('the cat is on stage', async () => (await s.px()).variance > 200, 2000 * SLOW)
})
