import assert from 'node:assert/strict'
import { exported, imports } from '../lib/files.mjs'
import { drop } from '../lib/project-views.mjs'
import { DOG } from '../lib/story.mjs'
import { inspect, suite } from '../lib/suite.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const { story, shared } = suite()
const COW = 'a cow walking in grass'
const ROBOT = 'a robot walking on mars'

const entry = (startTime, endTime, prompts, more = {}) => ({ startTime, endTime, prompts, ...more })
const workflowEntry = (start_time, end_time, prompts, more = {}) => ({ start_time, end_time, prompts, ...more })

const TIMELINE_20 = {
  version: '2.0',
  exportedAt: '2025-12-20T10:00:00.000Z',
  settings: { pipelineId: 'testcard', resolution: { height: 256, width: 448 }, seed: 7, noiseScale: 0.25 },
  prompts: [
    entry(0, 3.5, [{ text: 'a lake', weight: 100 }]),
    entry(3.5, 3.5, [{ text: 'no length', weight: 100 }]),
    entry(
      3.5,
      9.25,
      [
        { text: 'a lake', weight: 40 },
        { text: 'a storm', weight: 60 },
      ],
      { transitionSteps: 8, temporalInterpolationMethod: 'linear' },
    ),
  ],
}
const TIMELINE_21 = {
  version: '2.1',
  exportedAt: '2025-12-29T10:00:00.000Z',
  settings: { pipelineId: 'testcard', inputMode: 'text', noiseScale: 0.5, futureSetting: 'kept' },
  prompts: [entry(1, 4, [{ text: 'ink', weight: 100 }], { mood: 'calm' })],
  author: { name: 'somebody' },
}
const WORKFLOW = {
  format: 'scope-workflow',
  format_version: '1.0',
  metadata: { name: 'Evening', created_at: '2026-02-01T00:00:00Z', scope_version: '0.2.4' },
  pipelines: [{ pipeline_id: 'testcard', source: { type: 'builtin' }, loras: [], params: { noise_scale: 0.4 } }],
  timeline: {
    entries: [
      workflowEntry(0, 2, [{ text: 'alone', weight: 1.0 }]),
      workflowEntry(2, 2, [{ text: 'no length', weight: 1.0 }]),
      workflowEntry(
        2,
        5,
        [
          { text: 'a', weight: 30 },
          { text: 'b', weight: 70 },
        ],
        { transition_steps: 6 },
      ),
    ],
  },
}

const noise = (s) => s.tid('param-noise_scale').getAttribute('aria-valuenow').then(Number)
const lengths = async (s) => (await s.blocks()).map(({ start, end }) => [start, end])

async function menu(s, item) {
  await s.tid('project-menu').click()
  await s.tid(`project-${item}`).click()
}

const safe = (s, pattern) =>
  until(
    `the header says ${pattern}`,
    async () => pattern.test(await s.tid('project-menu').textContent()),
    8000,
    () => s.tid('project-menu').textContent(),
  )

/** The document reaches the browser's store within a second. */
const stored = () => sleep(1000)

async function named(s, name) {
  await s.page.keyboard.press('Control+s')
  await s.tid('name-dialog').waitFor()
  await s.tid('name-dialog').getByRole('textbox').fill(name)
  await s.tid('name-confirm').click()
  await safe(s, new RegExp(`${name}, saved`))
}

/** Another visitor of the same server, with a browser of their own. */
async function visitor(s) {
  const context = await s.browser.newContext({ viewport: { width: 1440, height: 900 } })
  const page = await context.newPage()
  const other = Object.assign(Object.create(Object.getPrototypeOf(s)), s, { page, context })
  await other.open()
  return other
}

story('25: timelines and workflows from elsewhere come in by drop, and go by one undo', async (s) => {
  await s.pipeline('Test card')
  await s.prompt().fill(COW)

  await drop(s, 'lake.json', JSON.stringify(TIMELINE_20))
  await s.tid('import-dialog').waitFor()
  const summary = await s.tid('import-dialog').textContent()
  for (const part of ['lake.json', 'Timeline 2.0', '0:09', 'Test card', 'One entry without length']) {
    assert.ok(summary.includes(part), `${part} in ${summary}`)
  }
  assert.deepEqual(await s.blocks(), [], 'nothing changes before it is confirmed')
  await sleep(300)
  assert.deepEqual(await inspect(s.page, 'import'), [])
  await s.tid('import-confirm').click()
  await until('the takes are there', async () => (await s.blocks()).length === 2)
  assert.deepEqual(await lengths(s), [
    [0, 3500],
    [3500, 9250],
  ])
  assert.deepEqual(
    (await s.blocks()).map(({ text }) => text),
    ['a lake', 'a lake 40 + a storm 60'],
  )
  assert.equal(await noise(s), 0.25)
  assert.equal(await s.prompt().inputValue(), 'a lake')
  const { file } = await exported(s)
  assert.deepEqual(file.prompts[1].prompts, TIMELINE_20.prompts[2].prompts)
  assert.equal(file.prompts[1].transitionSteps, 8)
  assert.equal(file.prompts[1].temporalInterpolationMethod, 'linear')
  assert.deepEqual(file.settings.resolution, { height: 256, width: 448 })
  assert.equal(file.settings.seed, 7)

  await s.page.getByRole('status').getByRole('button', { name: 'Undo' }).waitFor({ state: 'detached', timeout: 15_000 })
  await imports(s, 'ink.json', TIMELINE_21)
  await until('they are replaced', async () => (await s.blocks())[0]?.text === 'ink')
  assert.deepEqual(await lengths(s), [[1000, 4000]])
  assert.equal(await noise(s), 0.5)
  await s.page.getByRole('button', { name: 'Undo' }).last().click()
  await until('one undo brings everything back', async () => (await s.blocks()).length === 2)
  assert.equal(await noise(s), 0.25)
  assert.equal(await s.prompt().inputValue(), 'a lake')

  await imports(s, 'evening.scope-workflow.json', WORKFLOW)
  await until('the workflow is there', async () => (await s.blocks())[0]?.text === 'alone')
  assert.deepEqual(await lengths(s), [
    [0, 2000],
    [2000, 5000],
  ])
  assert.equal(await noise(s), 0.4)
  await s.tid('start-stream-button').click()
  await s.state('live', 20_000)
  await s.hue('alone', 2000 * SLOW)
  await s.stop()
  const weights = (await exported(s)).file.prompts.map(({ prompts }) => prompts.map(({ weight }) => weight))
  assert.deepEqual(weights, [[100], [30, 70]])
})

story('25: an import while live leaves the picture alone', async (s) => {
  await s.start()
  await s.hue(DOG)
  const offers = s.offers()
  const loads = s.loads()
  await imports(s, 'lake.json', TIMELINE_20)
  await s.tid('pending-bar').waitFor()
  await s.moves()
  assert.equal(s.offers(), offers)
  assert.equal(s.loads(), loads)
  assert.equal(await s.currentState(), 'live')
  await s.colour([[DOG, 100]], 0.25)
  assert.equal(await s.prompt().inputValue(), DOG)
  const blocks = await s.blocks()
  assert.deepEqual(
    blocks.map(({ start, live }) => [start, live]),
    [
      [0, false],
      [3500, false],
      [9250, true],
    ],
    'what is live goes on after what was imported',
  )
  // A live value needs no reload: the server has it.
  const { parameters } = await shared.server.api('/api/v1/session/parameters')
  assert.equal(parameters.noise_scale, 0.25)
})

story('26: an exported timeline has the keys of 2.1 and comes back as it was', async (s) => {
  await s.pipeline('Test card')
  await imports(s, 'ink.json', TIMELINE_21)
  await s.prompt().fill(ROBOT)
  await s.prompt().press('Control+Enter')
  const first = await exported(s)
  assert.match(first.name, /\.timeline\.json$/)
  assert.deepEqual(Object.keys(first.file).sort(), [
    'author',
    'exportedAt',
    'prompts',
    'settings',
    'version',
    'x-scope',
  ])
  assert.equal(first.file.version, '2.1')
  assert.deepEqual(first.file.author, TIMELINE_21.author)
  assert.equal(first.file.settings.futureSetting, 'kept')
  assert.equal(first.file.prompts[0].mood, 'calm')

  await menu(s, 'new')
  await until('nothing is left', async () => (await s.blocks()).length === 0)
  await imports(s, first.name, first.file)
  await until('the take is back', async () => (await s.blocks()).length === 1)
  const second = await exported(s)
  assert.deepEqual({ ...second.file, exportedAt: null }, { ...first.file, exportedAt: null })
  const deck = await s.tid('deck-slot-1').textContent()
  assert.ok(deck.includes(ROBOT), deck)

  // The other formats say the same.
  const workflow = await exported(s, 'workflow')
  assert.equal(workflow.file.format, 'scope-workflow')
  assert.deepEqual(workflow.file.timeline.entries[0].prompts, [{ text: 'ink', weight: 100 }])
  await menu(s, 'new')
  await imports(s, workflow.name, workflow.file)
  assert.deepEqual((await exported(s)).file.prompts, first.file.prompts)
})

story('26: a link carries a timeline to another browser', async (s) => {
  await s.context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await s.pipeline('Test card')
  await imports(s, 'lake.json', TIMELINE_20)
  await menu(s, 'link')
  const link = await until('the link is in the clipboard', async () => {
    const text = await s.eval(() => navigator.clipboard.readText())
    return text.includes('#t=') && text
  })
  assert.ok(!link.includes('token'), 'a link gives nobody access')
  const other = await visitor(s)
  await other.page.goto(link)
  await other.tid('import-confirm').click()
  await until('the takes are there', async () => (await other.blocks()).length === 2)
  assert.equal(new URL(other.page.url()).hash, '')
  await other.context.close()
  // Pasted, it does the same.
  await menu(s, 'new')
  await s.eval(() => document.activeElement?.blur())
  await s.page.keyboard.press('Control+v')
  await s.tid('import-confirm').click()
  await until('the takes are back', async () => (await s.blocks()).length === 2)
  // A document is imported wherever it is pasted; what is not one is text.
  await s.eval((text) => navigator.clipboard.writeText(text), JSON.stringify(TIMELINE_21))
  await s.prompt().focus()
  await s.page.keyboard.press('Control+v')
  await s.tid('import-confirm').click()
  await until('the pasted take is there', async () => (await s.blocks())[0]?.text === 'ink')
  await s.eval((text) => navigator.clipboard.writeText(text), '{a duck}')
  await s.prompt().fill('')
  await s.page.keyboard.press('Control+v')
  await until('the text is in the box', async () => (await s.prompt().inputValue()) === '{a duck}')
})

story('27: a broken file is refused with its line, and nothing changes', async (s) => {
  await s.pipeline('Test card')
  await imports(s, 'ink.json', TIMELINE_21)
  const before = await exported(s)
  const text = JSON.stringify(TIMELINE_20, null, 2)
  const lineOf = (part) => text.slice(0, text.indexOf(part)).split('\n').length
  const cases = [
    [text.replace('"seed": 7,', '"seed": 7'), `Line ${lineOf('"noiseScale"')}, column`],
    [text.replace('"startTime": 0,', '"startTime": "0",'), `Line ${lineOf('"startTime": 0')}: “prompts[0].startTime”`],
    ['{"hello": "world"}', 'none of the known formats'],
  ]
  for (const [broken, wanted] of cases) {
    await drop(s, 'broken.json', broken)
    const problem = s.tid('import-problem')
    await problem.waitFor()
    const said = await problem.textContent()
    assert.ok(said.includes(wanted), `${wanted} in ${said}`)
    assert.ok(said.includes('Nothing was changed'))
    await sleep(250)
    assert.deepEqual(await inspect(s.page, 'problem'), [])
    await s.page.keyboard.press('Escape')
    await problem.waitFor({ state: 'detached' })
  }
  const after = await exported(s)
  assert.deepEqual({ ...after.file, exportedAt: null }, { ...before.file, exportedAt: null })
})

story('28: a reload brings prompt and parameters back', async (s) => {
  await s.pipeline('Test card')
  await s.prompt().fill(COW)
  const thumb = s.tid('param-noise_scale')
  const moved = () => thumb.getAttribute('aria-valuenow')
  const initial = await moved()
  await thumb.press('Home')
  for (let i = 0; i < 3; i++) await thumb.press('PageUp')
  const wanted = await moved()
  assert.notEqual(wanted, initial)
  // At once: what is not stored yet goes along with the page that leaves.
  await s.page.reload()
  await s.tid('start-stream-button').waitFor()
  await until('the prompt is back', async () => (await s.prompt().inputValue()) === COW, 1000 * SLOW)
  await until('the slider is back', async () => (await moved()) === wanted, 1000 * SLOW)
  await sleep(300)
  assert.equal(await s.tid('recovery-banner').count(), 0, 'a reload is no crash')
})

story('28: a tab that dies while it is worked in is recovered, or not', async (s) => {
  await s.pipeline('Test card')
  await imports(s, 'ink.json', TIMELINE_21)
  await stored()
  await s.page.reload()
  await until('the take is back', async () => (await s.blocks()).length === 1)
  await s.prompt().fill(COW)
  await stored()
  // What kill -9 of the tab's process looks like from inside the browser.
  const devtools = await s.context.newCDPSession(s.page)
  await Promise.race([devtools.send('Page.crash').catch(() => undefined), s.page.waitForEvent('crash')])
  await s.page.close()
  s.page = await s.context.newPage()
  await s.open(s.page)
  const banner = s.tid('recovery-banner')
  await banner.waitFor()
  assert.match(await banner.textContent(), /Recovered your work from \d+:\d+/)
  assert.equal(await s.prompt().inputValue(), COW)
  assert.deepEqual(await inspect(s.page, 'recovered'), [])
  await s.tid('discard-recovered').click()
  await banner.waitFor({ state: 'detached' })
  await until('it is as it was found', async () => (await s.prompt().inputValue()) === 'ink')
  assert.equal((await s.blocks()).length, 1)
  // Discarding can be taken back, now or later.
  await s.page.getByRole('button', { name: 'Undo' }).last().click()
  await until('the recovered work is back', async () => (await s.prompt().inputValue()) === COW)
  await menu(s, 'versions')
  await s.tid('version-restore').first().waitFor()
  await s.page.keyboard.press('Escape')
})

story(
  'a project is saved on the server and opened in another browser',
  async (s) => {
    await s.pipeline('Test card')
    await imports(s, 'ink.json', TIMELINE_21)
    // From inside the prompt box, and without the browser's own dialog.
    await s.prompt().fill(COW)
    await named(s, 'Friday night')
    assert.deepEqual(
      (await shared.server.api('/api/v1/projects')).projects.map(({ name }) => name),
      ['Friday night'],
    )
    await s.prompt().fill(ROBOT)
    await safe(s, /edited/)
    await s.page.keyboard.press('Control+s')
    await safe(s, /saved/)

    const other = await visitor(s)
    await menu(other, 'open')
    await other.tid('project-row').getByText('Friday night').click()
    await until('the project is open', async () => (await other.prompt().inputValue()) === ROBOT)
    assert.equal((await other.blocks()).length, 1)
    await safe(other, /Friday night, saved/)

    // Both change it; the second to save is asked, and nothing is lost.
    await other.prompt().fill('a castle on a hill')
    await other.page.keyboard.press('Control+s')
    await safe(other, /saved/)
    await s.prompt().fill(COW)
    await s.page.keyboard.press('Control+s')
    await s.tid('conflict-dialog').waitFor()
    await sleep(250)
    assert.deepEqual(await inspect(s.page, 'conflict'), [])
    await s.tid('conflict-both').click()
    await safe(s, /Friday night 2, saved/)
    const kept = async (name) =>
      (await shared.server.api(`/api/v1/projects/${encodeURIComponent(name)}`)).document.draft[0].text
    assert.equal(await kept('Friday night'), 'a castle on a hill')
    assert.equal(await kept('Friday night 2'), COW)

    await menu(other, 'rename')
    await other.tid('name-dialog').getByRole('textbox').fill('Saturday')
    await other.tid('name-confirm').click()
    await safe(other, /Saturday, saved/)
    await menu(other, 'remove')
    await other.tid('remove-confirm').click()
    await until('it is gone', async () => {
      const { projects } = await shared.server.api('/api/v1/projects')
      return projects.map(({ name }) => name).join() === 'Friday night 2'
    })
    assert.equal(await other.prompt().inputValue(), 'a castle on a hill', 'what is on the page stays')
    await other.context.close()
  },
  { expected: [/412/] },
)

story('the second tab keeps nothing until it takes over', async (s) => {
  await s.pipeline('Test card')
  await s.prompt().fill(COW)
  await stored()
  const page = await s.context.newPage()
  const second = Object.assign(Object.create(Object.getPrototypeOf(s)), s, { page })
  await second.open()
  await second.tid('reader-banner').waitFor()
  assert.equal(await second.prompt().inputValue(), COW)
  assert.deepEqual(await inspect(page, 'reader'), [])
  // What the first tab does last comes along when the second takes over.
  await s.prompt().fill(ROBOT)
  await second.tid('take-over').click()
  await second.tid('reader-banner').waitFor({ state: 'detached' })
  await until('the second tab has it', async () => (await second.prompt().inputValue()) === ROBOT)
  await s.tid('reader-banner').waitFor()
  await second.prompt().fill('a castle on a hill')
  await stored()
  await page.reload()
  await until('the second tab stores', async () => (await second.prompt().inputValue()) === 'a castle on a hill')
  await page.close()
  await s.tid('reader-banner').waitFor({ state: 'detached' })
})

story('a browser that stores nothing says so once, and the show goes on', async (s) => {
  await s.context.addInitScript(() => {
    Object.defineProperty(window, 'indexedDB', { get: () => undefined })
    const refuse = () => {
      throw new DOMException('The quota has been exceeded.', 'QuotaExceededError')
    }
    Storage.prototype.setItem = refuse
  })
  await s.page.reload()
  await s.tid('start-stream-button').waitFor()
  await s.start()
  await s.take(COW)
  await s.hue(COW)
  await s.page.getByText('This browser stores nothing').waitFor()
  await safe(s, /not stored/)
})

story('changing pipeline and mode keeps everything, and can be undone', async (s) => {
  await s.pipeline('Test card')
  await imports(s, 'ink.json', TIMELINE_21)
  await s.prompt().fill(COW)
  await s.mode('Text')
  await s.pipeline('Passthrough')
  assert.equal(await s.prompt().inputValue(), COW)
  assert.equal((await s.blocks()).length, 1)
  await s.pipeline('Test card')
  assert.equal(await noise(s), 0.5, 'each pipeline has its own values')
  await s.mode('Video')
  await s.eval(() => document.activeElement?.blur())
  await s.page.keyboard.press('Control+z')
  const pressed = (name) => s.tid('mode-toggle').getByText(name, { exact: true }).getAttribute('data-state')
  await until('the mode is back', async () => (await pressed('Text')) === 'on')
  await s.page.keyboard.press('Control+z')
  await until('the pipeline is back', async () => /Passthrough/.test(await s.tid('pipeline-select').textContent()))
  assert.equal((await s.blocks()).length, 1)
})
