import { sleep } from './wait.mjs'

/** Views of projects and files for `screenshots.mjs`. */

const TIMELINE = {
  version: '2.0',
  settings: { pipelineId: 'krea-next', resolution: { height: 320, width: 576 }, seed: 7, noiseScale: 0.25 },
  prompts: ['a lake at dawn', 'a storm over the lake', 'stars above still water'].map((text, i) => ({
    startTime: i * 4,
    endTime: i * 4 + (i === 1 ? 5 : 4),
    prompts: [{ text, weight: 100 }],
  })),
}

/** Drops a file in the middle of the page. */
export async function drop(s, name, text, type = 'application/json') {
  const transfer = await s.page.evaluateHandle(
    ([name, text, type]) => {
      const transfer = new DataTransfer()
      transfer.items.add(new File([text], name, { type }))
      return transfer
    },
    [name, text, type],
  )
  for (const event of ['dragenter', 'dragover', 'drop']) {
    await s.page.dispatchEvent('section[aria-label="Stage"]', event, { dataTransfer: transfer })
  }
}

async function menu(s, item) {
  await s.tid('project-menu').click()
  await s.tid(`project-${item}`).click()
}

async function imported(s) {
  await drop(s, 'lake.json', JSON.stringify({ ...TIMELINE, settings: { inputMode: 'text' } }))
  await s.tid('import-confirm').click()
}

async function named(s, name) {
  await s.page.keyboard.press('Control+Shift+s')
  await s.tid('name-dialog').getByRole('textbox').fill(name)
  await s.tid('name-confirm').click()
  await s.tid('name-dialog').waitFor({ state: 'detached' })
}

/** Whoever looks at this has saved something. */
async function projects(s) {
  for (const { name } of (await s.server.api('/api/v1/projects')).projects) {
    await s.server.api(`/api/v1/projects/${encodeURIComponent(name)}`, { method: 'DELETE' })
  }
  await imported(s)
  for (const name of ['Garage, March', 'Rehearsal', 'Friday night']) await named(s, name)
  // Until the notices have gone.
  await sleep(8500)
}

export const PROJECT_VIEWS = {
  async project(s) {
    await projects(s)
    await s.tid('project-menu').click()
  },
  async open(s) {
    await projects(s)
    await menu(s, 'open')
    await s.tid('project-row').first().waitFor()
  },
  async import(s) {
    await drop(s, 'lake.json', JSON.stringify(TIMELINE))
    await s.tid('import-dialog').waitFor()
  },
  async refused(s) {
    await drop(s, 'lake.json', JSON.stringify(TIMELINE, null, 2).replace('"seed": 7,', '"seed": 7'))
    await s.tid('import-problem').waitFor()
  },
  async conflict(s) {
    await projects(s)
    const { document, ...file } = await s.server.api('/api/v1/projects/Friday%20night')
    const json = { ...file, document: { ...document, name: 'changed' } }
    await s.server.api('/api/v1/projects/Friday%20night', { method: 'PUT', json })
    await s.prompt().fill('mine')
    await s.page.keyboard.press('Control+s')
    await s.tid('conflict-dialog').waitFor()
  },
  async versions(s) {
    await projects(s)
    await menu(s, 'new')
    await menu(s, 'versions')
    await s.tid('version-restore').first().waitFor()
  },
  async export(s) {
    await projects(s)
    await menu(s, 'export')
    await s.tid('export-dialog').waitFor()
  },
  async name(s) {
    await menu(s, 'saveAs')
    await s.tid('name-dialog').waitFor()
  },
  async recovered(s) {
    await imported(s)
    await sleep(1000)
    const devtools = await s.context.newCDPSession(s.page)
    await Promise.race([devtools.send('Page.crash').catch(() => undefined), s.page.waitForEvent('crash')])
    s.page = await s.context.newPage()
    await s.open(s.page)
    await s.tid('recovery-banner').waitFor()
  },
  /** Two shows, one of them over a video; the first is rendered again while another is on air. */
  async again(s, [width, height]) {
    await s.page.setViewportSize({ width: 1440, height: 900 })
    await s.start({ mode: 'Video' })
    await sleep(2500)
    await s.stop()
    await s.start({ mode: 'Text' })
    await s.server.api('/api/v1/session/parameters', { method: 'POST', json: { delay_ms: 95 } })
    await sleep(8000)
    await s.page.setViewportSize({ width, height })
    await menu(s, 'again')
    await s.tid('show').nth(1).waitFor()
    await s.tid('render-again').first().click()
    await s.tid('again-progress').waitFor()
    await sleep(3000)
  },
  async rendered(s, [width, height]) {
    await s.page.setViewportSize({ width: 1440, height: 900 })
    await s.mode('Text')
    await s.tid('start-stream-button').click()
    await s.state('live', 60_000)
    await sleep(4000)
    await s.stop()
    await s.page.setViewportSize({ width, height })
    await menu(s, 'again')
    await s.tid('render-again').click()
    await s.tid('again-download').waitFor({ timeout: 30_000 })
    await sleep(1500)
  },
  async reader(s) {
    await imported(s)
    await sleep(1000)
    s.page = await s.context.newPage()
    await s.open(s.page)
    await s.tid('reader-banner').waitFor()
  },
}
