import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after } from 'node:test'
import { blackScribble } from '../lib/checkpoint.mjs'
import { Hub } from '../lib/hub.mjs'
import { suite } from '../lib/suite.mjs'
import { SLOW, until } from '../lib/wait.mjs'

const FILE = 'VACE-Annotators/scribble/anime_style/netG_A_latest.pth'
const MODEL = blackScribble(6 << 20)
const HALF = MODEL.length >> 1
const BLACK = [0, 0, 0]
const folder = mkdtempSync(join(tmpdir(), 'scope-e2e-models-'))
mkdirSync(dirname(join(folder, FILE)), { recursive: true })
writeFileSync(join(folder, FILE), MODEL)
const hub = await new Hub(folder).start()
after(async () => {
  await hub.close()
  rmSync(folder, { recursive: true, force: true })
})

const { story } = suite({ server: { args: ['--hf-endpoint', hub.origin] } })

/** No file is there, and the hub is well. */
async function nothing(s) {
  hub.refuse(FILE, 200)
  await s.server.api('/api/v1/models/download/scribble', { method: 'DELETE' }).catch(() => undefined)
  await s.server.api('/api/v1/models/scribble', { method: 'DELETE' })
}

const row = (s) => s.tid('model-scribble')
const rowState = (s, wanted) =>
  until(
    `the row says ${wanted}`,
    async () => (await row(s).getAttribute('data-state')) === wanted,
    10_000 * SLOW,
    () => row(s).textContent(),
  )
const bytesShown = async (s) => Number(await s.tid('download-progress').first().getAttribute('data-bytes'))
const bytesShow = (s, count) =>
  until(
    `${count} bytes are shown`,
    async () => (await bytesShown(s)) === count,
    10_000 * SLOW,
    () => s.page.locator('section[aria-label="Stage"]').textContent(),
  )

/** The page is told that the disk has room for `bytes`, whatever this machine has. */
const room = (s, bytes) =>
  s.page.route('**/api/v1/models', async (route) => {
    const response = await route.fetch()
    await route.fulfill({ response, json: { ...(await response.json()), room_bytes: bytes } })
  })

/** Passthrough with contours before it. */
async function withScribble(s) {
  await s.pipeline('Passthrough')
  await s.choose('add-before', 'Scribble')
}

story(
  '2: missing files are fetched, over a reload and a cancelled attempt, and then it starts by itself',
  async (s) => {
    await nothing(s)
    await s.page.reload()
    await withScribble(s)
    await s.tid('start-stream-button').click()
    await s.state('failed')
    const card = s.tid('error-card')
    assert.equal(await card.getAttribute('data-code'), 'models_missing')
    assert.match(await s.tid('download-missing').textContent(), /Download about 17\.2 MB/)
    assert.equal(s.loads(), 0, 'nothing is loaded that could only fail')

    const earlier = hub.ranges(FILE).length
    hub.fault(FILE, 'hold')
    await s.tid('download-missing').click()
    await bytesShow(s, HALF)
    await s.page.getByText('Starts by itself').waitFor()
    assert.match(await s.tid('models-button').textContent(), /\d+ %/)

    // The server knows how far it is: a reload shows it at once.
    await s.page.reload()
    await s.tid('download-progress').first().waitFor()
    assert.equal(await bytesShown(s), HALF)
    await s.page.getByText('Starts by itself').waitFor()

    await s.tid('cancel-download').click()
    await until('the download lets go of the hub', () => hub.asked.every(({ open }) => !open))
    await s.tid('download-progress').first().waitFor({ state: 'detached' })
    assert.equal(await s.currentState(), 'idle')

    await s.tid('start-stream-button').click()
    await s.state('failed')
    assert.match(await s.tid('download-missing').textContent(), /Resume/)
    await s.tid('download-missing').click()
    await s.state('live', 20_000 * SLOW)
    assert.deepEqual(hub.ranges(FILE).slice(earlier), [null, `bytes=${HALF}-`])
    await s.nearly(BLACK, 5000 * SLOW)
    assert.equal(s.loads(), 1)
  },
  { timeout: 60_000 * SLOW },
)

story('36: a download that fails says why and is tried again', async (s) => {
  await nothing(s)
  hub.refuse(FILE, 403)
  await s.page.reload()
  await s.tid('models-button').click()
  await rowState(s, 'missing')
  await s.tid('download-scribble').click()
  await rowState(s, 'failed')
  const { progress } = await s.server.api('/api/v1/models/status?pipeline_id=scribble')
  const said = (await row(s).getByTestId('download-trouble').textContent()).trim()
  assert.equal(said, progress.error)
  hub.refuse(FILE, 200)
  assert.match(await s.tid('download-scribble').textContent(), /Try again/)
  await s.tid('download-scribble').click()
  await rowState(s, 'complete')
  await s.page.getByText('Scribble is ready').first().waitFor()
})

story('36a: a repository that asks who you are gets a token, and the download goes on', async (s) => {
  await nothing(s)
  hub.refuse(FILE, 401)
  await s.page.reload()
  await withScribble(s)
  await s.tid('start-stream-button').click()
  await s.tid('download-missing').click()
  await s.tid('model-key').waitFor()
  hub.refuse(FILE, 200)
  await s.tid('model-key').fill('hf_aTokenForStories')
  await s.tid('model-key').press('Enter')
  await s.state('live', 20_000 * SLOW)
  const { keys } = await s.server.api('/api/v1/keys')
  assert.equal(keys.find(({ id }) => id === 'huggingface').source, 'stored')
})

story(
  '78: files of a model are deleted to make room, after a second press, and not while they are in use',
  async (s) => {
    await nothing(s)
    await s.page.reload()
    await s.tid('models-button').click()
    await s.tid('download-scribble').click()
    await rowState(s, 'complete')
    const remove = s.tid('remove-scribble')
    await remove.click()
    assert.match(await remove.textContent(), /fetch again/)
    await rowState(s, 'complete')
    // Whoever goes elsewhere has thought better of it.
    await s.tid('verify-scribble').focus()
    assert.match(await remove.textContent(), /Delete files/)
    await remove.click()
    await remove.click()
    await rowState(s, 'missing')
    assert.equal(await s.tid('remove-scribble').count(), 0)
  },
)

story('36b: a damaged file is found, named and fetched again', async (s) => {
  await nothing(s)
  await s.page.reload()
  await s.tid('models-button').click()
  await s.tid('download-scribble').click()
  await rowState(s, 'complete')
  await s.tid('verify-scribble').click()
  await s.tid('verified').getByText('All files are intact (1)').waitFor()

  const file = join(s.server.folder, 'models', FILE)
  const content = readFileSync(file)
  content[content.length >> 1] ^= 1
  writeFileSync(file, content)
  await s.tid('verify-scribble').click()
  await rowState(s, 'damaged')
  assert.match(await s.tid('verified').textContent(), /One file is damaged.*netG_A_latest/)
  await s.tid('download-scribble').click()
  await rowState(s, 'complete')
  assert.deepEqual(readFileSync(file), MODEL)
})

story('36c: what the disk has no room for is not begun', async (s) => {
  await nothing(s)
  await room(s, 1_000_000)
  await s.page.reload()
  await withScribble(s)
  await s.tid('start-stream-button').click()
  await s.state('failed')
  assert.match(await s.tid('no-room').textContent(), /Not enough disk space: 17\.2 MB.*room for 1\.0 MB/)
  assert.equal(await s.tid('download-missing').count(), 0)
  await s.page.unroute('**/api/v1/models')
  await s.page.getByRole('button', { name: 'Check again' }).click()
  await s.tid('download-missing').waitFor()

  // The way without: what has its files stays, what has none is left out.
  await s.choose('add-after', 'Color')
  await s.page.getByRole('button', { name: 'Try passthrough' }).click()
  await s.state('live')
  assert.equal(await s.tid('node-before:scribble').count(), 0)
  assert.equal(await s.tid('node-after:color').count(), 1)
})

story('36d: a running picture goes on while what was chosen next is fetched', async (s) => {
  await nothing(s)
  await s.page.reload()
  await s.start({ pipeline: 'Passthrough' })
  await s.choose('add-before', 'Scribble')
  await s.tid('pending-bar').waitFor()
  assert.equal(await s.tid('apply-reload').count(), 0, 'what could only fail is not offered')
  hub.fault(FILE, 'hold')
  await s.tid('download-missing').click()
  await bytesShow(s, HALF)
  assert.equal(await s.currentState(), 'live')
  await s.tid('cancel-download').click()
  await s.tid('download-missing').click()
  await s.tid('apply-reload').waitFor()
  assert.equal(s.loads(), 1)
  await s.tid('apply-reload').click()
  await s.nearly(BLACK, 20_000 * SLOW)
})

story(
  '42b: the models on a phone, by keyboard',
  async (s) => {
    await nothing(s)
    await room(s, 100e9)
    await s.page.reload()
    await s.page.getByRole('tab', { name: 'Tune' }).click()
    await withScribble(s)
    await s.pipeline('LongLive')
    await s.tid('open-models').press('Enter')
    const dialog = s.page.getByRole('dialog', { name: 'Models' })
    await dialog.waitFor()
    assert.match(await s.tid('model-longlive').textContent(), /Download about 14\.3 GB/)
    await s.tid('download-scribble').press('Enter')
    await rowState(s, 'complete')
    const sideways = await s.eval(() => document.documentElement.scrollWidth > innerWidth)
    assert.equal(sideways, false)
    await s.page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
  },
  { viewport: { width: 390, height: 844 } },
)
