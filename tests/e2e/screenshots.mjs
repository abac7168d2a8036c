import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Hub } from './lib/hub.mjs'
import { webp } from './lib/media.mjs'
import { IN_PAGE, ROOT } from './lib/paths.mjs'
import { Server } from './lib/server.mjs'
import { Story } from './lib/story.mjs'
import { launch } from './lib/suite.mjs'
import { sleep, until } from './lib/wait.mjs'

/**
 * Takes pictures of the page in two sizes: `node screenshots.mjs [FOLDER [VIEW…]]`. Without arguments it is the picture that
 * docs/images has; the other views are for looking at: missing, downloading, failed, models, choice, chain.
 */
const SIZES = { desktop: [1440, 900], phone: [390, 844] }
const LIMIT = 100_000
/** A busy machine must not look like a slow program. */
const FEWEST_FPS = Number(process.env.FEWEST_FPS ?? 12)
const PROMPTS = ['a dog walking in grass', 'a robot walking on mars', 'a dragon flying through clouds']
const [out = join(ROOT, 'docs/images'), ...asked] = process.argv.slice(2)
const wanted = asked.length > 0 ? asked : ['perform']

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

/** What each view needs: from a fresh page to the moment of the picture. */
const VIEWS = {
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
  async missing(s) {
    await tune(s)
    await s.pipeline('LongLive')
    await s.tid('start-stream-button').click()
    await s.tid('download-missing').waitFor()
  },
  async downloading(s) {
    for (const file of FAMILY) hub.fault(file, 'hold')
    await VIEWS.missing(s)
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
}

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
      writeFileSync(path, webp(await page.screenshot()))
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
