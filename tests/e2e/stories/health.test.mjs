import assert from 'node:assert/strict'
import { inspect, suite } from '../lib/suite.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const { story } = suite()

story('54: the health details say what is known, a dash for what is not, and nothing old', async (s) => {
  await s.start()
  await s.eval(() => document.activeElement?.blur())
  await s.page.keyboard.press('h')
  const value = (name) => s.tid('hud').locator(`div:has(> dt:text-is("${name}")) dd`).textContent()
  const read = async (name, pattern) =>
    until(
      `${name} is ${pattern}`,
      async () => pattern.test(await value(name)),
      5000 * SLOW,
      () => value(name),
    )
  await read('Generate', /^\d+\.\d fps .*chunk \d+ ms/)
  await read('Network', /kb\/s|Mb\/s/)
  await read('Output', /512×512 {2}VP8/)
  // This machine has no GPU, and nothing is recorded.
  await read('GPU', /^VRAM –$/)
  await read('Record', /^off$/)
  await s.take('a robot walking on mars')
  await read('Prompt to pixel', /^\d\.\d\d s .*p95/)
  assert.deepEqual(await inspect(s.page, 'hud'), [])

  s.server.signal('SIGSTOP')
  try {
    await s.state('stalled', 3000)
    await read('Generate', /^– .*chunk –/)
    await read('Output', /^0\.0 fps/)
    await until(
      'the word is a bad one',
      async () => (await s.tid('health').first().getAttribute('data-level')) === 'bad',
    )
    await s.tid('health-button').click()
    await s.page.getByRole('dialog').getByText('No new pictures').waitFor()
    await s.page.getByRole('dialog').getByRole('button', { name: 'Open log' }).waitFor()
    await s.page.keyboard.press('Escape')
  } finally {
    s.server.signal('SIGCONT')
  }
  await s.state('live', 15_000 * SLOW)
  await until(
    'all is well again',
    async () => (await s.tid('health').first().getAttribute('data-level')) === 'ok',
    6000 * SLOW,
  )
})

story('55: what failed stays in the list of problems until it is dismissed', async (s) => {
  await s.start()
  const warn = { type: 'warning', message: 'noise_scale must be a number' }
  await s.inject(warn)
  await s.inject({ type: 'warning', message: 'no such parameter: speed' })
  await s.inject(warn)
  const button = s.tid('problems-button')
  await button.getByText('2 warnings').waitFor()
  // Its card on the stage goes away; the list keeps it.
  await s.tid('problem').getByRole('button', { name: 'Dismiss' }).click()
  await s.inject({ type: 'stream_stopped', error_message: 'it broke\nat line 3', error_code: 'pipeline_failed' })
  await s.tid('error-card').waitFor()
  await s.page.getByRole('button', { name: 'Restart pipeline' }).click()
  await s.state('live', 20_000)
  await button.getByText('1 error, 2 warnings').waitFor()
  await button.click()
  const entries = s.tid('problem-entry')
  await until('all three are listed', async () => (await entries.count()) === 3)
  const texts = await entries.allTextContents()
  assert.match(texts[0], /The pipeline stopped.*Error.*it broke/)
  assert.match(texts[1], /noise_scale must be a number.*2 times/)
  assert.deepEqual(await inspect(s.page, 'problems'), [])
  await sleep(5000)
  assert.equal(await entries.count(), 3)
  await entries
    .first()
    .getByRole('button', { name: /^Dismiss/ })
    .click()
  await until('one is gone', async () => (await entries.count()) === 2)
  await s.page.getByRole('button', { name: 'Dismiss all' }).click()
  await s.page.getByText('Nothing went wrong.').waitFor()
  await button.waitFor({ state: 'detached' })
})

story('56: each failure has a card with its cause and ways out', async (s) => {
  await s.pipeline('Test card')
  await s.mode('Text')
  const problems = []
  const cards = [
    ['out_of_memory', /Not enough GPU memory/, ['Unload other pipelines', 'Try again']],
    ['pipeline_panicked', /crashed/, ['Restart pipeline', 'Open log']],
    ['load_timeout', /took too long/, ['Restart pipeline', 'Open log']],
    ['ice_failed', /video port/, ['Try again', 'Test the network']],
    ['disk_full', /disk is full/, ['Delete model files', 'Change the folder', 'Try again']],
    ['unknown_pipeline', /no longer has this pipeline/, ['Choose another pipeline', 'Try again']],
    ['invalid_parameters', /setting was refused/, ['Reset the parameters', 'Try again']],
    ['invalid_graph', /refused the setup/, ['Choose another pipeline', 'Try again']],
    ['something_new', /Error/, ['Try again', 'Open log']],
  ]
  for (const [code, title, actions] of cards) {
    await s.tid('start-stream-button').click()
    await s.state('live', 20_000)
    await s.inject({ type: 'stream_stopped', error_message: `cause of ${code}`, error_code: code })
    await s.tid('error-card').waitFor()
    const stage = s.page.locator('section[aria-label="Stage"]')
    assert.match(await s.tid('error-card').textContent(), title)
    for (const name of actions) assert.equal(await stage.getByRole('button', { name }).count(), 1, `${code}: ${name}`)
    await stage.getByText('Details', { exact: true }).click()
    assert.match(await stage.locator('pre').textContent(), new RegExp(`${code}: cause of ${code}`))
    problems.push(...(await inspect(s.page, code)))
  }
  assert.deepEqual(problems, [])
  // The way out of a blocked port leads to the test.
  await s.tid('start-stream-button').click()
  await s.state('live', 20_000)
  await s.inject({ type: 'stream_stopped', error_message: 'no way', error_code: 'ice_failed' })
  await s.page.getByRole('button', { name: 'Test the network' }).click()
  await s.tid('settings').getByRole('button', { name: 'Test the network' }).click()
  await until('it says which ways there are', async () =>
    /This network.*works|nothing found/.test(await s.tid('network-test').textContent()),
  )
})
