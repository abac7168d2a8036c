import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Hub } from './lib/hub.mjs'
import { colourPicture, webp } from './lib/media.mjs'
import { IN_PAGE, ROOT } from './lib/paths.mjs'
import { drop, PROJECT_VIEWS } from './lib/project-views.mjs'
import { Server } from './lib/server.mjs'
import { Story } from './lib/story.mjs'
import { launch } from './lib/suite.mjs'
import { TEMPO_VIEWS } from './lib/tempo-views.mjs'
import { sleep, until } from './lib/wait.mjs'

/**
 * Takes pictures of the page in three sizes: `node screenshots.mjs [FOLDER [VIEW…]]`. Without arguments it is those that
 * docs/images has; the other views are for looking at: missing, downloading, failed, models, choice, chain, palette, settings, mapping, health, broken,
 * timeline, editing, menu, and those of `lib/project-views.mjs` and `lib/tempo-views.mjs`.
 */
const SIZES = { desktop: [1440, 900], tablet: [820, 1180], phone: [390, 844] }
const LIMIT = 100_000
/** A busy machine must not look like a slow program. */
const FEWEST_FPS = Number(process.env.FEWEST_FPS ?? 12)
const PROMPTS = ['a dog walking in grass', 'a robot walking on mars', 'a dragon flying through clouds']
const [out = join(ROOT, 'docs/images'), ...asked] = process.argv.slice(2)
/** What docs/ui.md shows. */
const SHOWN = ['perform', 'replay', 'swing', 'media', 'graph', 'rendered', 'mapping', 'missing']
const wanted = asked.length > 0 ? asked : SHOWN

const FAMILY = [
  'Wan2.1-T2V-1.3B/config.json',
  'Wan2.1-T2V-1.3B/Wan2.1_VAE.pth',
  'Wan2.1-T2V-1.3B/google/umt5-xxl/tokenizer.json',
  'WanVideo_comfy/umt5-xxl-enc-fp8_e4m3fn.safetensors',
  'LongLive-1.3B/models/longlive_base.pt',
  'LongLive-1.3B/models/lora.pt',
]
const SCRIBBLE = 'VACE-Annotators/scribble/anime_style/netG_A_latest.pth'

/** Below the picture on a phone, beside it elsewhere. */
async function tune(s) {
  const tab = s.page.getByRole('tab', { name: 'Tune' })
  if (await tab.isVisible()) await tab.click()
}

/** On a phone what was just asked for may have to be scrolled to. */
async function show(s, testId) {
  await s.tid(testId).first().scrollIntoViewIfNeeded()
  await sleep(500)
}

/** Three takes of a few seconds, made on a wide page, where everything is within reach. */
async function takes(s, [width, height]) {
  await s.page.setViewportSize({ width: 1440, height: 900 })
  await s.start()
  await s.page.setViewportSize({ width, height })
  const tab = s.page.getByRole('tab', { name: 'Takes' })
  if (await tab.isVisible()) await tab.click()
  for (const text of PROMPTS.slice(1)) {
    await sleep(3500)
    await s.take(text)
  }
  await sleep(2500)
}

/** What each view needs: from a fresh page to the moment of the picture. */
const VIEWS = {
  ...PROJECT_VIEWS,
  ...TEMPO_VIEWS,
  async perform(s, [width, height]) {
    // Two takes and a deck, on what a newcomer gets.
    for (const text of PROMPTS) {
      await s.prompt().fill(text)
      await s.prompt().press('Control+Enter')
    }
    await s.prompt().fill(PROMPTS[0])
    await s.tid('start-stream-button').click()
    await s.state('live', 60_000)
    await sleep(6000)
    await s.take(PROMPTS[1])
    await s.page.setViewportSize({ width, height })
    await s.page.mouse.move(width / 2, 2)
    await s.eval(() => document.activeElement?.blur())
    await sleep(3000)
    await until(
      'the picture runs smoothly',
      async () => (await s.fps()) >= FEWEST_FPS,
      120_000,
      () => s.fps(),
    )
  },
  async missing(s, [width, height]) {
    await s.page.setViewportSize({ width: 1440, height: 900 })
    await s.pipeline('LongLive')
    await s.page.setViewportSize({ width, height })
    await s.tid('start-stream-button').click()
    await s.tid('download-missing').waitFor()
  },
  async downloading(s, size) {
    for (const file of FAMILY) hub.fault(file, 'hold')
    await VIEWS.missing(s, size)
    await s.tid('download-missing').click()
    await s.page.locator('[data-testid="download-progress"]:not([data-bytes="0"])').first().waitFor()
    await sleep(3000)
  },
  async failed(s) {
    hub.refuse(SCRIBBLE, 403)
    await tune(s)
    await s.tid('open-models').click()
    await s.tid('download-scribble').click()
    await s.page.locator('[data-testid="model-scribble"][data-state="failed"]').waitFor()
    await show(s, 'model-scribble')
  },
  async models(s) {
    await tune(s)
    await s.tid('open-models').click()
    await s.tid('model-longlive').locator('summary').click()
    await s.tid('model-longlive').scrollIntoViewIfNeeded()
  },
  async choice(s) {
    await tune(s)
    await s.tid('pipeline-select').click()
    await s.page.getByRole('listbox').waitFor()
  },
  async timeline(s, size) {
    await takes(s, size)
    await show(s, 'timeline-blocks')
  },
  async replay(s, size) {
    await takes(s, size)
    await s.leaveBox()
    await s.page.keyboard.press('Home')
    await s.tid('timeline-block').nth(1).click()
    await s
      .tid('timeline-block')
      .nth(2)
      .click({ modifiers: ['Control'] })
    await s.page.keyboard.press('Shift+M')
    await show(s, 'timeline-blocks')
  },
  async editing(s, size) {
    await takes(s, size)
    await s.tid('stop-button').click()
    await s.state('idle')
    await s.page.keyboard.press('Escape')
    await s.tid('timeline-block').nth(1).dblclick()
    await show(s, 'timeline-editor')
  },
  async menu(s, size) {
    await takes(s, size)
    await s.tid('timeline-block').nth(1).click({ button: 'right' })
    await s.page.getByRole('menu').waitFor()
  },
  async chain(s) {
    await tune(s)
    await s.pipeline('Passthrough')
    await s.choose('add-before', 'Edges')
    await s.choose('add-after', 'Color')
    await s.tid('start-stream-button').click()
    await s.state('live', 60_000)
    await s.tid('param-after:color-hue').focus()
    await sleep(2000)
    await show(s, 'chain-before')
  },
  async palette(s) {
    await s.page.keyboard.press('Control+k')
    await s.tid('palette-input').fill('out')
  },
  async settings(s) {
    await s.page.keyboard.press('Control+,')
    await s.page.getByRole('tab', { name: 'Keyboard', exact: true }).click()
  },
  async mapping(s) {
    await tune(s)
    await s.page.keyboard.press('Control+m')
    await s.tid('map-command|record').click()
  },
  async health(s) {
    await s.tid('start-stream-button').click()
    await s.state('live', 60_000)
    await s.eval(() => document.activeElement?.blur())
    await s.page.keyboard.press('h')
    await s.inject({ type: 'warning', message: 'noise_scale must be a number' })
    await sleep(4000)
    await s.tid('problems-button').click()
  },
  async broken(s) {
    await s.tid('start-stream-button').click()
    await s.state('live', 60_000)
    await s.inject({ type: 'stream_stopped', error_message: 'out of memory', error_code: 'out_of_memory' })
    await s.tid('error-card').waitFor()
  },
}

/** The library, with something in it. */
async function library(s, tab) {
  const source = s.page.getByRole('tab', { name: 'Source' })
  if (await source.isVisible()) await source.click()
  await s.page.locator('[data-testid="library-button"]:visible, [data-testid="open-library"]:visible').click()
  await s.page.getByRole('dialog', { name: 'Library' }).getByRole('tab', { name: tab }).click()
}
/** The signal path of a chain, over what it shows. */
async function graph(s, [width, height]) {
  await s.page.setViewportSize({ width: 1440, height: 900 })
  await s.choose('add-before', 'Edges')
  await s.choose('add-after', 'Color')
  await s.tid('add-prompt').click()
  await s.prompt(1).fill(PROMPTS[1])
  await s.tid('start-stream-button').click()
  await s.state('live', 60_000)
  await s.page.setViewportSize({ width, height })
  await s.eval(() => document.activeElement?.blur())
  await s.page.keyboard.press('g')
  await s.tid('flow').waitFor()
  await sleep(4000)
}

Object.assign(VIEWS, {
  graph,
  async 'graph-file'(s) {
    const node = (id, type, more = {}) => ({ id, type, ...more })
    const edge = (from, to_node, kind = 'stream') => ({ from, from_port: 'video', to_node, to_port: 'video', kind })
    const file = {
      format: 'scope-workflow',
      format_version: '1.0',
      pipelines: [
        { pipeline_id: 'edges', role: 'preprocessor' },
        { pipeline_id: 'testcard', role: 'main' },
      ],
      graph: {
        nodes: [
          node('cam', 'source', { source_mode: 'camera' }),
          node('lines', 'pipeline', { pipeline_id: 'edges' }),
          node('card', 'pipeline', { pipeline_id: 'testcard' }),
          node('wobble', 'slider'),
          node('beat', 'tempo'),
          node('out', 'sink'),
          node('ndi', 'sink', { sink_mode: 'ndi' }),
          node('rec', 'record'),
        ],
        edges: [
          edge('cam', 'lines'),
          edge('lines', 'card'),
          edge('wobble', 'card', 'parameter'),
          edge('beat', 'wobble', 'parameter'),
          edge('card', 'out'),
          edge('card', 'ndi'),
          edge('out', 'rec'),
        ],
      },
    }
    await drop(s, 'studio.scope-workflow.json', JSON.stringify(file))
    await s.tid('import-confirm').click()
    await s.page.goto(`${s.server.origin}/graph`)
    await s.tid('graph-which').getByText('From the file', { exact: true }).click()
  },
  async media(s) {
    await library(s, 'Media')
    const pictures = ['teal', 'orange', 'indigo'].map((name) => ({
      name: `${name}.png`,
      mimeType: 'image/png',
      buffer: colourPicture(name, 320, 240),
    }))
    await s.tid('upload-media').setInputFiles(pictures)
    await s.tid('asset').nth(2).click()
  },
  loras: (s) => library(s, 'LoRAs'),
  async recordings(s, [width, height]) {
    await s.page.setViewportSize({ width: 1440, height: 900 })
    await s.start()
    await s.leaveBox()
    await s.page.keyboard.press('p')
    await s.page.keyboard.press('r')
    await sleep(4000)
    await s.page.keyboard.press('r')
    await until('it is kept', async () => (await s.server.api('/api/v1/assets')).assets.length >= 2, 20_000)
    await s.page.setViewportSize({ width, height })
    await library(s, 'Recordings')
    await sleep(1500)
  },
  async presets(s) {
    await library(s, 'Presets')
    for (const name of ['Calm', 'Wild']) {
      await s.tid('preset-name').fill(name)
      await s.tid('save-preset').click()
      await s.tid('preset').filter({ hasText: name }).waitFor()
    }
  },
  async references(s) {
    await tune(s)
    await s.pipeline('LongLive')
    await show(s, 'param-vace_ref_images')
  },
})

mkdirSync(out, { recursive: true })
const folder = mkdtempSync(join(tmpdir(), 'scope-pictures-'))
for (const [index, file] of [...FAMILY, SCRIBBLE].entries()) {
  const path = join(folder, 'hub', file)
  mkdirSync(dirname(path), { recursive: true })
  // A file's address is its content: no two are the same.
  writeFileSync(path, Buffer.alloc(24 << 20, `${index}`))
}
const hub = await new Hub(join(folder, 'hub')).start()
const server = await new Server({ args: ['--hf-endpoint', hub.origin] }).start()
const browser = await launch(folder)
try {
  for (const view of wanted) {
    for (const [name, [width, height]] of Object.entries(SIZES)) {
      await server.clear()
      // The usual picture is arranged on a wide page, where everything is within reach.
      const viewport = view === 'perform' ? { width: 1440, height: 900 } : { width, height }
      const context = await browser.newContext({ viewport })
      await context.addInitScript({ path: IN_PAGE })
      const page = await context.newPage()
      const s = new Story({ page, context, requests: [], server, browser, folder })
      await s.open()
      await VIEWS[view](s, [width, height])
      await sleep(500)
      const path = join(out, `${view}-${name}.webp`)
      writeFileSync(path, webp(await s.page.screenshot()))
      const { size } = statSync(path)
      console.log(`${path}: ${Math.round(size / 1000)} kB${size > LIMIT ? ', too large' : ''}`)
      if (size > LIMIT) process.exitCode = 1
      await context.close()
      for (const { pipeline_id: id } of (await server.api('/api/v1/models')).models) {
        await server.api(`/api/v1/models/download/${id}`, { method: 'DELETE' }).catch(() => undefined)
      }
    }
  }
} finally {
  await browser.close()
  await server.close()
  await hub.close()
  rmSync(folder, { recursive: true, force: true })
}
