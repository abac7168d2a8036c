import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { Hub } from '../lib/hub.mjs'
import { colourClip, colourPicture } from '../lib/media.mjs'
import { HERE, TINY_MODELS } from '../lib/paths.mjs'
import { DOG } from '../lib/story.mjs'
import { suite } from '../lib/suite.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const models = mkdtempSync(join(tmpdir(), 'scope-e2e-models-'))
execFileSync(TINY_MODELS, [models])
const hub = await new Hub(models).start()
after(async () => {
  await hub.close()
  rmSync(models, { recursive: true, force: true })
})
const { story } = suite({
  server: { args: ['--hf-endpoint', hub.origin], plugins: [join(HERE, 'plugins/widgets')] },
})

const ADAPTER = 'adapters/swirl.safetensors'
const ADDRESS = 'https://huggingface.co/someone/adapters/resolve/main/swirl.safetensors'
const RED = [192, 32, 32]
const LEAF = [20, 200, 20]

const drawer = (s) => s.page.getByRole('dialog', { name: 'Library' })

async function library(s, tab) {
  await s.tid('library-button').click()
  await drawer(s).waitFor()
  await drawer(s).getByRole('tab', { name: tab }).click()
}

/** Files in the hand of the user, over an element. */
async function drop(s, selector, files) {
  const carried = files.map(({ name, type, bytes }) => ({ name, type, bytes: [...bytes] }))
  await s.page.locator(selector).evaluate((node, carried) => {
    const dataTransfer = new DataTransfer()
    for (const { name, type, bytes } of carried)
      dataTransfer.items.add(new File([new Uint8Array(bytes)], name, { type }))
    for (const kind of ['dragenter', 'dragover', 'drop']) {
      node.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer }))
    }
  }, carried)
}

const paste = (s, { name, type, bytes }) =>
  s.eval(
    ([name, type, bytes]) => {
      const clipboardData = new DataTransfer()
      clipboardData.items.add(new File([new Uint8Array(bytes)], name, { type }))
      document.dispatchEvent(new ClipboardEvent('paste', { bubbles: true, cancelable: true, clipboardData }))
    },
    [name, type, [...bytes]],
  )

const stored = async (s) => (await s.server.api('/api/v1/assets')).assets.map(({ name }) => name)

async function emptied(s) {
  for (const { path } of (await s.server.api('/api/v1/assets')).assets) {
    await s.server.api(`/api/v1/assets/${encodeURIComponent(path.split('/').at(-1))}`, { method: 'DELETE' })
  }
}

const shown = (s) => s.tid('asset').evaluateAll((nodes) => nodes.map((node) => node.getAttribute('aria-label')))

story(
  '29a: media are dropped, pasted, found, used as a reference and deleted',
  async (s) => {
    await emptied(s)
    await s.pipeline('Widgets')
    await s.tid('start-stream-button').click()
    await s.state('live', 20_000)
    await s.nearly(RED)
    await s.leaveBox()
    await s.page.keyboard.press('l')
    await drawer(s).waitFor()
    await s.page.getByText('Nothing here yet').waitFor()

    const leaf = colourPicture('green')
    await drop(s, '[data-takes-files]', [
      { name: 'leaf.png', type: 'image/png', bytes: leaf },
      { name: 'notes.txt', type: 'text/plain', bytes: Buffer.from('x') },
    ])
    await s.tid('asset').waitFor()
    await s.page.getByText('Not a kind of file that is kept here').waitFor()
    await s.page.getByRole('button', { name: 'Dismiss notes.txt' }).click()
    assert.deepEqual(await stored(s), ['leaf'])
    const [{ path }] = (await s.server.api('/api/v1/assets')).assets
    assert.ok(readFileSync(path).equals(leaf), 'every byte has arrived')
    assert.equal(await s.page.getByText('Drop a video').count(), 0, 'the page leaves it to the library')

    await paste(s, { name: 'image.png', type: 'image/png', bytes: colourPicture('blue') })
    await until('the pasted picture is there', async () => (await shown(s)).length === 2)
    assert.match((await shown(s))[0], /^pasted-\d{4}-.*Image$/)

    await s.page.getByRole('searchbox', { name: 'Search media' }).fill('LEA')
    await until('only what was looked for is shown', async () => (await shown(s)).length === 1)
    await s.tid('asset').click()
    await s.tid('use-picture').click()
    await s.nearly(LEAF)
    await until('it is marked', async () => /in use/.test((await shown(s))[0]))
    await s.page.getByRole('searchbox', { name: 'Search media' }).fill('')

    // By keyboard: the arrows walk, Delete deletes, and what was deleted by mistake comes back.
    await s.tid('asset').nth(1).focus()
    await s.page.keyboard.press('ArrowLeft')
    await s.page.keyboard.press('Delete')
    await until('it is out of sight', async () => (await shown(s)).length === 1)
    await s.page.getByRole('status').getByRole('button', { name: 'Undo' }).click()
    await until('it is back', async () => (await shown(s)).length === 2)
    assert.equal((await stored(s)).length, 2)
    await s.tid('asset').first().click()
    await s.tid('delete-asset').click()
    await until('its file is gone', async () => (await stored(s)).join() === 'leaf', 12_000 * SLOW)

    // What is in use is not deleted by one press.
    await s.tid('asset').first().click()
    await s.tid('delete-asset').click()
    await sleep(300)
    assert.equal((await shown(s)).length, 1)

    await s.page.keyboard.press('Escape')
    await drawer(s).waitFor({ state: 'detached' })
    assert.equal(await s.currentState(), 'live')
    await s.nearly(LEAF)
  },
  { timeout: 60_000 * SLOW },
)

story('29b: a clip of the library becomes the input, and an upload can be cancelled', async (s) => {
  await emptied(s)
  await s.start({ pipeline: 'Passthrough' })
  await library(s, 'Media')
  await s.tid('upload-media').setInputFiles(colourClip(s.folder, 'red'))
  await s.tid('asset').click()
  await s.tid('use-as-input').click()
  await s.nearly([254, 0, 0], 5000 * SLOW, 'stage-video', 24)

  await s.page.route('**/api/v1/assets?filename=*', () => undefined)
  await s.tid('upload-media').setInputFiles({ name: 'slow.png', mimeType: 'image/png', buffer: colourPicture('blue') })
  await s.tid('upload').waitFor()
  await s.page.getByRole('button', { name: 'Cancel the upload of slow.png' }).click()
  await s.tid('upload').waitFor({ state: 'detached' })
  assert.deepEqual(await stored(s), ['red'])
})

/** Everything that the server objects to from now on. */
const listen = (s) =>
  s.eval(() => {
    window.refused = []
    window.e2e.channels.at(-1).addEventListener('message', ({ data }) => {
      const message = JSON.parse(data)
      if (message.type === 'error') window.refused.push(message)
    })
  })
const refused = (s) => s.eval(() => window.refused)

/** LongLive with made-up weights, as small as it gets. */
async function small(s) {
  await s.server.api('/api/v1/models/download', {
    method: 'POST',
    json: { pipeline_id: 'longlive', vace_enabled: false },
  })
  await until(
    'the model is there',
    async () => (await s.server.api('/api/v1/models/status?pipeline_id=longlive&vace_enabled=false')).downloaded,
    20_000 * SLOW,
  )
  await s.page.reload()
  await s.pipeline('LongLive')
  for (const [side, size] of [
    ['width', 96],
    ['height', 64],
  ]) {
    await s.tid(`param-${side}`).fill(String(size))
    await s.tid(`param-${side}`).press('Enter')
  }
  await s.mode('Text')
}

/** What the data channel said of adapters since `from`. */
const scalesSent = async (s, from) =>
  (await s.sent(from)).flatMap(({ lora_scales: scales }) => scales?.map(({ scale }) => scale) ?? [])

story(
  '29c: an adapter is installed from its address, and its strength changes while the picture runs',
  async (s) => {
    await small(s)
    await library(s, 'LoRAs')
    await s.tid('lora-url').fill('https://example.com/x.safetensors')
    await s.tid('install-lora').click()
    await s.tid('install-trouble').getByText('upload the file').waitFor()

    // A repository that asks who you are gets a token, and the installation goes on.
    hub.refuse(ADAPTER, 401)
    await s.tid('lora-url').fill(ADDRESS)
    await s.tid('lora-url').press('Enter')
    await s.tid('model-key').waitFor()
    hub.refuse(ADAPTER, 200)
    await s.tid('model-key').fill('hf_aTokenForStories')
    await s.tid('model-key').press('Enter')
    await s.tid('lora').waitFor()
    const [{ path }] = (await s.server.api('/api/v1/loras')).lora_files
    assert.ok(readFileSync(path).equals(readFileSync(join(models, ADAPTER))))
    await s.tid('lora').getByText('Details').click()
    assert.match(await s.tid('lora').textContent(), /someone\/adapters.*SHA-256/)
    await s.tid('add-lora').click()
    await s.page.keyboard.press('Escape')

    await s.tid('merge-swirl').getByText('Live').click()
    await s.tid('start-stream-button').click()
    await s.state('live', 60_000 * SLOW)
    const loaded = async () => (await s.server.api('/api/v1/pipeline/status')).load_params.loras
    assert.deepEqual(await loaded(), [{ path, scale: 1, merge_mode: 'runtime_peft' }])
    const loads = s.loads()
    const from = await s.sentCount()
    await listen(s)
    await s.tid('scale-value-swirl').fill('-2.5')
    await s.tid('scale-value-swirl').press('Enter')
    await until('it is said', async () => (await scalesSent(s, from)).at(-1) === -2.5)
    await sleep(1500)
    assert.equal(await s.tid('pending-bar').count(), 0, 'nothing waits for a reload')
    assert.deepEqual(await refused(s), [], 'the server has no objection')

    // Merged, it waits for a reload, which brings the strength that was set.
    await s.tid('merge-swirl').getByText('Merged').click()
    await s.tid('pending-bar').waitFor()
    assert.equal(s.loads(), loads)
    await s.tid('apply-reload').click()
    await s.state('live', 60_000 * SLOW)
    assert.deepEqual(await loaded(), [{ path, scale: -2.5, merge_mode: 'permanent_merge' }])

    await s.page.getByRole('button', { name: 'Take swirl out' }).click()
    await s.tid('apply-reload').click()
    await until('it runs without', async () => (await loaded()) === undefined, 30_000 * SLOW)
    await s.state('live', 60_000 * SLOW)
  },
  { timeout: 100_000 * SLOW, expected: [/status of 40[01]/] },
)

story(
  '29e: a reference picture brings the files that it needs, and goes to the picture again when asked',
  async (s) => {
    await emptied(s)
    await small(s)
    const missing = s.page.getByText('need files that are not here yet')
    assert.equal(await missing.count(), 0, 'nobody has asked for a reference yet')
    await s.tid('param-vace_ref_images-choose').click()
    const picture = { name: 'leaf.png', mimeType: 'image/png', buffer: colourPicture('green') }
    await s.tid('asset-picker').getByTestId('upload-media').setInputFiles(picture)
    await s.tid('pick-asset').click()
    await missing.waitFor()
    await s.tid('download-missing').first().click()
    await missing.waitFor({ state: 'detached', timeout: 20_000 * SLOW })

    await s.tid('start-stream-button').click()
    await s.state('live', 60_000 * SLOW)
    await listen(s)
    const from = await s.sentCount()
    await s.tid('param-vace_ref_images-again').click()
    const references = async () => (await s.sent(from)).flatMap(({ vace_ref_images: paths }) => paths ?? [])
    await until('it is said again', async () => (await references()).some((path) => path.endsWith('leaf.png')))
    await s.tid('param-vace_context_scale-value').fill('1.5')
    await s.tid('param-vace_context_scale-value').press('Enter')
    await sleep(2000)
    assert.deepEqual(await refused(s), [], 'the server has no objection')
    assert.equal(await s.tid('pending-bar').count(), 0, 'nothing waits for a reload')
    assert.equal(await s.currentState(), 'live')
  },
  { timeout: 100_000 * SLOW },
)

const noise = (s, value) =>
  s
    .tid('param-noise_scale-value')
    .fill(String(value))
    .then(() => s.tid('param-noise_scale-value').press('Enter'))

async function save(s, name) {
  await s.tid('preset-name').fill(name)
  await s.tid('save-preset').click()
  await s.tid('preset').filter({ hasText: name }).waitFor()
}

const presets = (s) =>
  s.tid('preset').evaluateAll((nodes) => nodes.map((node) => node.querySelector('p')?.textContent ?? ''))

story('29d: presets bring all values back at once, also on another day and another machine', async (s) => {
  await s.start()
  await noise(s, 0.2)
  await s.colour([[DOG, 1]], 0.2)
  await library(s, 'Presets')
  await s.page.getByText('No presets yet').waitFor()
  await save(s, 'Dark')
  await s.page.keyboard.press('Escape')
  await noise(s, 0.9)
  await s.colour([[DOG, 1]], 0.9)
  await library(s, 'Presets')
  await save(s, 'Bright')
  assert.equal(await s.tid('preset').filter({ hasText: 'Bright' }).getAttribute('data-state'), 'current')
  await s.page.getByRole('button', { name: 'Apply Dark' }).click()
  await s.colour([[DOG, 1]], 0.2)
  assert.equal(await s.tid('param-noise_scale-value').inputValue(), '0.2')
  // One step back brings what was there before, and the picture follows.
  await s.page.getByRole('status').getByRole('button', { name: 'Undo' }).click()
  await s.colour([[DOG, 1]], 0.9)

  await s.page.getByRole('button', { name: 'Rename Dark' }).click()
  await s.page.getByRole('textbox', { name: 'Rename Dark' }).fill('Night')
  await s.page.keyboard.press('Enter')
  await until('it has the new name', async () => (await presets(s)).join() === 'Night,Bright')

  const [download] = await Promise.all([s.page.waitForEvent('download'), s.tid('export-presets').click()])
  const file = await download.path()
  const content = JSON.parse(readFileSync(file, 'utf8'))
  assert.deepEqual(
    content.presets.map(({ name, pipelineId, params }) => [name, pipelineId, params.noise_scale]),
    [
      ['Night', 'testcard', 0.2],
      ['Bright', 'testcard', 0.9],
    ],
  )

  await s.page.getByRole('button', { name: 'Delete Night' }).click()
  await until('it is gone', async () => (await presets(s)).join() === 'Bright')
  await s.page.reload()
  await library(s, 'Presets')
  await until('it is still gone', async () => (await presets(s)).join() === 'Bright')
  await s.tid('import-presets').setInputFiles({
    name: 'x.json',
    mimeType: 'application/json',
    buffer: Buffer.from(JSON.stringify({ ...content, presets: content.presets.slice(0, 1) })),
  })
  await until('it is there again', async () => (await presets(s)).join() === 'Bright,Night')
  await s.tid('import-presets').setInputFiles({ name: 'y.json', mimeType: 'text/plain', buffer: Buffer.from('{}') })
  await s.page.getByText('no presets of Scope').waitFor()
  assert.equal((await presets(s)).length, 2)
})
