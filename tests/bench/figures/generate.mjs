// The built-in model at work beside everything else: how fast it generates, what the browser gets of it, and what that does to
// the pictures of another client, which pass through the same server meanwhile.
import { evenness, journey, served, window } from '../lib/measure.mjs'
import { mean, round } from '../lib/numbers.mjs'

const STEPS = { 3: [1000, 857, 600], 2: [1000, 750] }
const PROMPTS = [{ text: 'a dog walking in grass', weight: 1 }]
const GLASS = {
  source: { width: 512, height: 512, fps: 29.9, layout: 'strip' },
  codec: 'VP8',
  read: 'strip',
  parameters: { pipeline_ids: ['passthrough'], input_mode: 'video' },
}

export default async function generate({ server: start, browser: launch, page: open, seconds, result }) {
  const browser = await launch()
  const pipelines = ['pocket', 'passthrough'].map((id) => ({ node_id: id, pipeline_id: id, load_params: {} }))
  for (const threads of [1, 2]) {
    const server = await start(['--threads', String(threads)])
    await server.api('/api/v1/pipeline/load', { method: 'POST', json: { pipelines } })
    for (const mode of ['none', 'text', 'video']) {
      for (const steps of mode === 'none' ? [null] : [3, 2]) {
        const parameters = {
          pipeline_ids: ['pocket'],
          input_mode: mode,
          prompts: PROMPTS,
          noise_scale: 0.7,
          noise_controller: false,
          denoising_step_list: STEPS[steps],
          adaptive_quality: false,
        }
        const source = mode === 'video' ? { width: 256, height: 144, fps: 24 } : undefined
        const pages = [await open(browser, server)]
        const passing = await pages[0].evaluate((o) => bench.open(o), GLASS)
        const begin = () => made && pages[1].evaluate((i) => bench.reset(i), made.index)
        let made = null
        if (mode !== 'none') {
          pages.push(await open(browser, server))
          made = await pages[1].evaluate((o) => bench.open(o), { source, codec: 'VP8', parameters })
          await pages[1].waitForFunction((i) => bench.times(i).first, made.index, { timeout: 30_000 })
        }
        const glass = await window(pages[0], passing.index, seconds, server, { begin })
        const shown = made && (await pages[1].evaluate((i) => bench.report(i), made.index))
        const { p50, p95, max, fps, freezes } = journey(glass)
        const chunk = shown && served(shown, 'chunk_ms')
        result({
          threads,
          mode,
          steps,
          chunk_ms: round(chunk),
          could_make_fps: chunk ? round(4000 / chunk) : null,
          made_fps: shown && round(served(shown, 'fps_generated')),
          delivered_fps: shown && round(shown.samples.length / shown.seconds),
          delivered_sigma: shown && evenness(shown).shown,
          passing_p50: p50,
          passing_p95: p95,
          passing_max: max,
          passing_fps: fps,
          passing_freezes: freezes,
          passing_encode_ms: round(mean([served(glass, 'encode_ms')])),
          server_cpu: round(glass.cpu, 0),
        })
        for (const [page, link] of [
          [pages[0], passing],
          [pages[1], made],
        ]) {
          if (!link) continue
          await page.evaluate((i) => bench.close(i), link.index)
          await page.close()
        }
        await server.emptied()
      }
    }
    await server.close()
  }
}
