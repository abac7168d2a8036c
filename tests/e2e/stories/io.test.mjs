import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { chromium } from 'playwright-core'
import { hue, hueDistance, hueOf } from '../lib/card.mjs'
import { safetensors } from '../lib/checkpoint.mjs'
import { imports } from '../lib/files.mjs'
import { Hub } from '../lib/hub.mjs'
import { colourClip, meanColour, probe } from '../lib/media.mjs'
import { CHROMIUM } from '../lib/paths.mjs'
import { DOG, HUE_TOLERANCE, Story } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const adapters = mkdtempSync(join(tmpdir(), 'scope-e2e-adapters-'))
mkdirSync(join(adapters, 'adapters'))
writeFileSync(join(adapters, 'adapters/swirl.safetensors'), safetensors({ swirl: [400, 400] }))
const hub = await new Hub(adapters).start()
after(async () => {
  await hub.close()
  rmSync(adapters, { recursive: true, force: true })
})
const { story } = suite({ server: { args: ['--hf-endpoint', hub.origin] } })
const COW = 'a cow walking in grass'
const GREEN = [0, 128, 0]

const TIMELINE = {
  version: '2.1',
  settings: { pipelineId: 'testcard' },
  prompts: [
    { startTime: 0, endTime: 4, prompts: [{ text: 'a lake at dawn', weight: 100 }] },
    { startTime: 4, endTime: 9, prompts: [{ text: 'a storm over the lake', weight: 100 }] },
  ],
}

/** A browser with a profile of its own: only there pages can be installed. */
async function ownBrowser(s) {
  const profile = mkdtempSync(join(s.folder, 'profile-'))
  const args = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking']
  const context = await chromium.launchPersistentContext(profile, { executablePath: CHROMIUM, args })
  context.setDefaultTimeout(15_000)
  await context.addInitScript({ path: new URL('../lib/in-page.js', import.meta.url).pathname })
  const close = async () => {
    await context.close()
    rmSync(profile, { recursive: true, force: true })
  }
  return { context, close }
}

story(
  '71: the page can be installed, and files open in it as in any program',
  async (s) => {
    const { context, close } = await ownBrowser(s)
    try {
      const [page] = context.pages()
      const app = new Story({ ...s, page, context, requests: [] })
      await app.open()
      const devtools = await context.newCDPSession(page)
      const { url, errors, manifest } = await devtools.send('Page.getAppManifest')
      assert.deepEqual(errors, [])
      assert.equal(new URL(url).pathname, '/app.webmanifest')
      assert.equal(manifest.launchHandler.clientMode, 'kFocusExisting', 'a file never replaces a running show')
      const { installabilityErrors } = await devtools.send('Page.getInstallabilityErrors')
      assert.deepEqual(installabilityErrors, [])
      for (const { url: icon } of manifest.icons) {
        const answer = await fetch(icon)
        assert.equal(answer.headers.get('content-type'), 'image/svg+xml')
      }

      // The browser's offer becomes a command and a button; it is asked for by the user alone.
      await page.keyboard.press('Control+,')
      await app.tid('settings').waitFor()
      await app.tid('install-app').waitFor({ timeout: 15_000 * SLOW })
      await page.keyboard.press('Escape')
      const id = `${s.server.origin}/`
      await devtools.send('PWA.install', { manifestId: id, installUrlOrBundleUrl: id })
      const { fileHandlers } = await devtools.send('PWA.getOsAppState', { manifestId: id })
      const endings = fileHandlers.flatMap(({ accepts }) => accepts.flatMap(({ fileExtensions }) => fileExtensions))
      assert.deepEqual(endings.sort(), ['.json', '.mov', '.mp4', '.webm'])

      const show = join(s.folder, 'show.timeline.json')
      writeFileSync(show, JSON.stringify(TIMELINE))
      await devtools.send('PWA.launchFilesInApp', { manifestId: id, files: [show] })
      await app.tid('import-dialog').waitFor()
      assert.match(await app.tid('import-dialog').textContent(), /show\.timeline\.json/)
      await app.tid('import-confirm').click()
      await until('its takes are here', async () => (await app.blocks()).length === 2)

      await devtools.send('PWA.launchFilesInApp', { manifestId: id, files: [colourClip(s.folder, 'green')] })
      await app.nearly(GREEN, 4000 * SLOW, 'input-preview')
    } finally {
      await close()
    }
  },
  { open: false, quiet: true },
)

story('71b: the entries of the icon’s menu open their panel, and no link does more', async (s) => {
  for (const [name, dialog] of [
    ['projects', 'Open project'],
    ['library', 'Library'],
    ['models', 'Models'],
  ]) {
    await s.page.goto(`${s.server.origin}/?show=${name}`)
    await s.page.getByRole('dialog', { name: dialog }).waitFor()
    assert.equal(new URL(s.page.url()).search, '', 'a reload does not open it again')
  }
  await s.page.goto(`${s.server.origin}/?show=play`)
  await s.page.locator('[data-testid="start-stream-button"]:enabled').waitFor()
  assert.equal(await s.page.getByRole('dialog').count(), 0)
  assert.equal(await s.currentState(), 'idle')
})

story('72: two prompts blend in a straight line or along a circle, as is chosen', async (s) => {
  const said = async () => (await s.server.api('/api/v1/session/parameters')).parameters.prompt_interpolation_method
  assert.equal(await s.tid('blend-method').count(), 0, 'one prompt has nothing to blend with')
  await s.tid('add-prompt').click()
  await s.prompt(1).fill(COW)
  await s.start()
  const button = s.tid('blend-method')
  assert.equal(await button.textContent(), 'Linear')
  await until('it starts with it', async () => (await said()) === 'linear')
  await button.click()
  await until('the server blends along a circle', async () => (await said()) === 'slerp', 5000 * SLOW, said)
  assert.equal(await s.tid('pending-bar').count(), 0)

  // Another program changes it, an undo takes back what was done here, and a reload keeps it.
  await s.server.api('/api/v1/session/parameters', {
    method: 'POST',
    json: { prompt_interpolation_method: 'linear' },
  })
  await until('the page follows', async () => (await button.textContent()) === 'Linear')
  await button.click()
  await until('it is told again', async () => (await said()) === 'slerp')
  await s.leaveBox()
  await s.page.keyboard.press('Control+z')
  await until('the undo is told', async () => (await said()) === 'linear')
  await s.page.keyboard.press('Control+Shift+z')
  await until('it is back', async () => (await said()) === 'slerp')
  await s.stop()
  await s.page.reload()
  await until('a reload keeps it', async () => (await button.textContent()) === 'Slerp')
})

story('73: other programs’ pictures: what the server has, and why not', async (s) => {
  const facts = await s.server.api('/api/v1/hardware/info')
  await s.tid('other-programs').locator('summary').click()
  for (const id of ['spout', 'ndi', 'syphon']) {
    const { available, reason } = facts[id]
    const row = s.tid(`route-${id}`)
    assert.equal(await row.getAttribute('data-available'), String(available))
    if (reason) assert.ok((await row.textContent()).includes(reason), `${id} says why`)
  }
  // A server that has one, and a hint for another.
  await s.page.route('**/api/v1/hardware/info', (route) =>
    route.fulfill({
      json: {
        ...facts,
        ndi: { available: true },
        spout: { available: false, reason: 'No Windows', install_hint: 'Take Windows' },
      },
    }),
  )
  await s.page.reload()
  await s.tid('other-programs').locator('summary').click()
  await until('NDI is there', async () => (await s.tid('route-ndi').getAttribute('data-available')) === 'true')
  assert.match(await s.tid('route-spout').textContent(), /No Windows.*Take Windows/)
})

story('73b: the camera’s size is chosen, also while it runs', async (s) => {
  await s.source('Camera')
  const lines = () => s.eval(() => document.querySelector('[data-testid="input-preview"]')?.videoHeight ?? 0)
  await until('the camera is there', async () => (await lines()) > 0)
  await s.start({ pipeline: 'Passthrough' })
  await s.nearly([255, 0, 0])
  await s.choose('camera-size', 'Size: 360 lines')
  await until('it has 360 lines', async () => (await lines()) === 360, 5000 * SLOW, lines)
  await s.nearly([255, 0, 0])
  assert.equal(s.offers(), 1)
  await s.page.reload()
  await until('a reload keeps it', async () => (await lines()) === 360, 5000 * SLOW, lines)
  // What fades in while the page comes is not what axe is to judge.
  await s.tid('start-stream-button').and(s.page.locator(':enabled')).waitFor()
})

story('74: processors are put in order with the mouse, and undo puts them back', async (s) => {
  await s.pipeline('Passthrough')
  for (const name of ['Edges', 'Color', 'Grayscale']) await s.choose('add-before', name)
  const names = () => s.tid('chain-before').getByRole('heading', { level: 4 }).allTextContents()
  const order = (...wanted) =>
    until(`the order is ${wanted}`, async () => String(await names()) === String(wanted), 3000, names)
  await order('Edges', 'Color', 'Grayscale')
  const drag = async (id, to, half) => {
    const handle = await s.tid(`drag-before:${id}`)
    await handle.scrollIntoViewIfNeeded()
    const from = await handle.boundingBox()
    const target = await s.tid(`node-before:${to}`).boundingBox()
    const x = from.x + from.width / 2
    await s.page.mouse.move(x, from.y + from.height / 2)
    await s.page.mouse.down()
    await s.page.mouse.move(x, target.y + target.height * half, { steps: 6 })
    await s.page.mouse.up()
  }
  await drag('edges', 'color', 0.8)
  await order('Color', 'Edges', 'Grayscale')
  await drag('gray', 'color', 0.2)
  await order('Grayscale', 'Color', 'Edges')
  // A click on the handle moves nothing; its arrow keys do.
  await s.tid('drag-before:gray').click()
  await order('Grayscale', 'Color', 'Edges')
  await s.page.keyboard.press('ArrowDown')
  await order('Color', 'Grayscale', 'Edges')
  await s.page.keyboard.press('Control+z')
  await s.page.keyboard.press('Control+z')
  await order('Color', 'Edges', 'Grayscale')
})

const WORKFLOW = {
  format: 'scope-workflow',
  format_version: '1.0',
  metadata: { name: 'Studio' },
  pipelines: [
    { pipeline_id: 'edges', role: 'preprocessor', params: {} },
    { pipeline_id: 'passthrough', role: 'main', params: {} },
  ],
  graph: {
    nodes: [
      { id: 'cam', type: 'source', source_mode: 'camera' },
      { id: 'lines', type: 'pipeline', pipeline_id: 'edges' },
      { id: 'through', type: 'pipeline', pipeline_id: 'passthrough' },
      { id: 'wobble', type: 'slider' },
      { id: 'out', type: 'sink' },
      { id: 'ndi', type: 'sink', sink_mode: 'ndi' },
    ],
    edges: [
      { from: 'cam', from_port: 'video', to_node: 'lines', to_port: 'video', kind: 'stream' },
      { from: 'lines', from_port: 'video', to_node: 'through', to_port: 'video', kind: 'stream' },
      { from: 'wobble', from_port: 'value', to_node: 'lines', to_port: 'threshold', kind: 'parameter' },
      { from: 'through', from_port: 'video', to_node: 'out', to_port: 'video', kind: 'stream' },
      { from: 'through', from_port: 'video', to_node: 'ndi', to_port: 'video', kind: 'stream' },
    ],
  },
}
const box = (s, id) => s.tid(`flow-${id}`)
const boxes = (s) =>
  s
    .tid('flow')
    .locator('li')
    .evaluateAll((items) => items.map((item) => item.dataset.node))

story('75: the signal path shows what runs, with its numbers, and leads to where it is set up', async (s) => {
  await s.pipeline('Passthrough')
  await s.choose('add-before', 'Edges')
  await s.leaveBox()
  await s.page.keyboard.press('g')
  await s.tid('flow').waitFor()
  assert.deepEqual(await boxes(s), ['input', 'before:edges', 'passthrough', 'output', 'stage', 'window', 'recording'])
  assert.equal(await box(s, 'passthrough').getAttribute('data-state'), 'idle')
  // Read aloud, each says where it leads; drawn, each line ends at the next box.
  assert.match(await box(s, 'before:edges').textContent(), /leads to Passthrough/)
  assert.equal(await s.page.locator('[data-testid="graph"] svg g path').count(), 6)

  await s.tid('start-stream-button').click()
  await s.state('live')
  await until('it runs', async () => (await box(s, 'passthrough').getAttribute('data-state')) === 'runs')
  const rate = async (id) => Number((await box(s, id).textContent()).match(/([\d.]+) fps/)?.[1] ?? 0)
  for (const id of ['input', 'passthrough', 'output', 'stage']) {
    await until(
      `${id} says its rate`,
      async () => (await rate(id)) > 1,
      5000 * SLOW,
      () => box(s, id).textContent(),
    )
  }
  assert.match(await box(s, 'output').textContent(), /dropped \d+/)

  // What waits for a reload is told from what runs; what is leaving is named.
  await s.choose('add-after', 'Color')
  await until('it waits', async () => (await box(s, 'after:color').getAttribute('data-state')) === 'waits')
  await s.page.getByRole('button', { name: 'Remove Edges' }).click()
  assert.match(await s.tid('graph-leaving').textContent(), /Edges/)
  await s.tid('pending-bar').getByRole('button', { name: 'Discard' }).click()
  await s.tid('pending-bar').waitFor({ state: 'detached' })

  await box(s, 'before:edges').getByRole('button').click()
  await until('its parameters are there', () =>
    s.eval(() => document.activeElement?.dataset.testid === 'node-before:edges'),
  )
  const opened = s.page.waitForEvent('popup')
  await box(s, 'window').getByRole('button').click()
  const popup = await opened
  await until('the window runs', async () => (await box(s, 'window').getAttribute('data-state')) === 'runs')
  await popup.close()
  await until('and is off again', async () => (await box(s, 'window').getAttribute('data-state')) === 'off')
  await s.tid('record-button').click()
  await until('the recording runs', async () => (await box(s, 'recording').getAttribute('data-state')) === 'runs')
  await s.tid('stop-button').click()
  await s.state('idle')
  await until('nothing runs', async () => (await box(s, 'passthrough').getAttribute('data-state')) === 'idle')
  assert.doesNotMatch(await box(s, 'passthrough').textContent(), /fps/, 'no old numbers')
})

story('75b: an imported graph is shown as it came, with what of it is not run', async (s) => {
  await imports(s, 'studio.scope-workflow.json', WORKFLOW)
  await s.page.goto(`${s.server.origin}/graph`)
  await s.tid('graph-which').getByText('From the file', { exact: true }).click()
  assert.deepEqual(await boxes(s), ['cam', 'wobble', 'lines', 'through', 'out', 'ndi'])
  const state = (id) => box(s, id).getAttribute('data-state')
  for (const id of ['cam', 'lines', 'through', 'out']) assert.equal(await state(id), 'idle', id)
  for (const id of ['wobble', 'ndi']) assert.equal(await state(id), 'ignored', id)
  assert.match(await box(s, 'ndi').textContent(), /not run/)
  await s.page.reload()
  assert.equal(new URL(s.page.url()).pathname, '/')
})

story(
  '75c: the signal path on a phone leads down, and a touch leads to the panel',
  async (s) => {
    await s.page.getByRole('tab', { name: 'Tune' }).click()
    await s.tid('open-graph').click()
    await s.tid('flow').waitFor()
    const top = async (id) => (await box(s, id).boundingBox()).y
    assert.ok((await top('input')) < (await top('output')))
    assert.ok((await top('output')) < (await top('stage')))
    const wide = await s.eval(() => document.documentElement.scrollWidth)
    assert.ok(wide <= 390, `${wide} px wide`)
    await box(s, 'input').getByRole('button').tap()
    await s.tid('source-kind').waitFor()
    assert.equal(await s.tid('flow').count(), 0)
  },
  { viewport: { width: 390, height: 844 }, touch: true },
)

const films = async (s) => (await s.server.api('/api/v1/assets?type=video')).assets
const clearAssets = async (s) => {
  for (const { path } of (await s.server.api('/api/v1/assets')).assets) {
    await s.server.api(`/api/v1/assets/${encodeURIComponent(path)}`, { method: 'DELETE' })
  }
}
async function library(s, tab) {
  await s.tid('library-button').click()
  await s.page.getByRole('dialog', { name: 'Library' }).getByRole('tab', { name: tab }).click()
}
/** Starts a recording and lets it run. */
async function record(s, ms) {
  await s.tid('record-button').click()
  await until('it records', async () => (await s.tid('record-button').getAttribute('data-state')) === 'on')
  await sleep(ms)
}

story('76: a recording is kept on the server: played, used as input, deleted, on another day too', async (s) => {
  await clearAssets(s)
  await s.start()
  await s.hue(DOG)
  await record(s, 2500)
  const [download] = await Promise.all([s.page.waitForEvent('download'), s.tid('record-button').click()])
  const [film] = await films(s)
  assert.equal(film.folder, 'recordings')
  const saved = join(s.folder, 'kept.mp4')
  await download.saveAs(saved)
  assert.deepEqual(readFileSync(saved), readFileSync(film.path), 'what is saved is what is kept')
  assert.equal(download.suggestedFilename(), film.path.split('/').at(-1))
  const middle = hue(meanColour(saved, { at: probe(saved).seconds / 2 }))
  assert.ok(hueDistance(middle, hueOf(DOG)) <= HUE_TOLERANCE, `hue ${middle}`)

  await s.stop()
  await s.page.reload()
  await library(s, 'Recordings')
  await s.tid('capture').waitFor()
  assert.equal(await s.tid('capture').getAttribute('data-kind'), 'recording')
  await until('it can be played', () =>
    s.eval(() => {
      const film = document.querySelector('[data-testid="capture"] video')
      return film.readyState > 0 && film.duration > 1
    }),
  )
  await s.tid('use-recording').click()
  await until(
    'it is the input',
    async () => hueDistance(hue(await s.rgb('input-preview')), hueOf(DOG)) <= HUE_TOLERANCE,
    5000 * SLOW,
    () => s.rgb('input-preview'),
  )
  await s.tid('delete-recording').click()
  await s.tid('capture').waitFor({ state: 'detached' })
  await s.page.getByText('Undo', { exact: true }).click()
  await s.tid('capture').waitFor()
  await s.tid('delete-recording').click()
  await until('it is gone', async () => (await films(s)).length === 0, 12_000 * SLOW)
})

story('76b: a recording outlives its tab, and a session that another ends', async (s) => {
  await clearAssets(s)
  await s.start()
  await record(s, 2000)
  await s.page.close()
  await until('the server has filed it', async () => (await films(s)).length === 1, 20_000 * SLOW)
  s.page = await s.context.newPage()
  await s.open()
  await library(s, 'Recordings')
  await until('it is listed', async () => (await s.tid('capture').count()) === 1)
  await s.page.keyboard.press('Escape')

  await s.tid('start-stream-button').click()
  await s.state('live')
  await record(s, 2000)
  for (const { id } of (await s.server.api('/api/v1/sessions')).sessions) {
    await s.server.api(`/api/v1/sessions/${id}`, { method: 'DELETE' })
  }
  await s.page.getByText(/What was recorded is kept/).waitFor({ timeout: 10_000 * SLOW })
  await s.page.getByRole('button', { name: 'Show', exact: true }).click()
  await until('both are listed', async () => (await s.tid('capture').count()) === 2)
})

story(
  '76c: a screenshot goes into the library; what the server does not take stays in the page and is offered again',
  async (s) => {
    await clearAssets(s)
    await s.start()
    await s.hue(DOG)
    await s.leaveBox()
    const shoot = () => Promise.all([s.page.waitForEvent('download'), s.page.keyboard.press('p')])
    const [download] = await shoot()
    assert.match(download.suggestedFilename(), /^scope-a-dog-walking-in-grass-(seed\d+-)?\d+m\d+s\.png$/)
    const shots = async () => (await s.server.api('/api/v1/assets?type=image')).assets
    await until('it is on the server', async () => (await shots()).length === 1)
    const [{ folder, path }] = await shots()
    assert.equal(folder, 'screenshots')
    assert.deepEqual(readFileSync(path), readFileSync(await download.path()))

    await s.page.route('**/api/v1/assets?filename=*', (route) =>
      route.fulfill({ status: 507, json: { detail: 'full' } }),
    )
    await shoot()
    await library(s, 'Recordings')
    await until('both are listed', async () => (await s.tid('capture').count()) === 2)
    await s.tid('keep-capture').click()
    await until('it is refused again', () => s.sentTo('POST', '/api/v1/assets') === 3)
    await s.page.locator('[data-testid="keep-capture"]:enabled').waitFor()
    await s.page.unroute('**/api/v1/assets?filename=*')
    await s.tid('keep-capture').click()
    await s.tid('keep-capture').waitFor({ state: 'detached' })
    assert.equal((await shots()).length, 2)
  },
  { expected: [/507/] },
)

story(
  '76d: a server that cannot record leaves it to the browser; little room is said',
  async (s) => {
    await clearAssets(s)
    await s.page.route('**/api/v1/recordings/**', (route) => route.fulfill({ status: 503, json: { detail: 'no' } }))
    await s.page.route('**/api/v1/models', async (route) => {
      const response = await route.fetch()
      await route.fulfill({ response, json: { ...(await response.json()), room_bytes: 1_500_000_000 } })
    })
    await s.start()
    await record(s, 2500)
    await s.page
      .getByText(/disk has room for only 1\.5 GB/)
      .first()
      .waitFor()
    const [download] = await Promise.all([s.page.waitForEvent('download'), s.tid('record-button').click()])
    assert.match(download.suggestedFilename(), /\.(webm|mp4)$/)
    await until('it is on the server all the same', async () => (await films(s)).length === 1)
    await library(s, 'Recordings')
    await s.tid('capture').waitFor()
    assert.match(await s.tid('recordings-room').textContent(), /room for only/)
  },
  { expected: [/503/] },
)

story(
  '77: an adapter that is on its way can be cancelled',
  async (s) => {
    hub.fault('adapters/swirl.safetensors', 'hold')
    await library(s, 'LoRAs')
    await s.tid('lora-url').fill('https://huggingface.co/someone/adapters/resolve/main/swirl.safetensors')
    await s.tid('install-lora').click()
    const cancel = s.page.locator('[data-testid="cancel-install"]:enabled')
    await cancel.waitFor()
    await cancel.click()
    await s.tid('install-progress').waitFor({ state: 'detached' })
    assert.equal(await s.tid('install-trouble').count(), 0, 'what somebody ends is no failure')
    await until(
      'nothing is fetched any more',
      () => hub.asked.every(({ open }) => !open),
      5000 * SLOW,
      () => hub.asked,
    )
    await s.tid('install-lora').click()
    await s.tid('lora').waitFor()
  },
  { expected: [/409/] },
)
