// From the click, just before the offer is sent, to the first picture shown.
import { median, round } from '../lib/numbers.mjs'
import { sleep } from '../lib/wait.mjs'

const TIMES = 10

export default async function firstFrame({ server: start, browser: launch, page: open, result }) {
  const server = await start()
  const browser = await launch()
  const cases = [
    ['passthrough', { source: { width: 512, height: 512, fps: 30 }, parameters: { input_mode: 'video' } }],
    ['testcard', { parameters: { input_mode: 'text', prompts: [{ text: 'a cat', weight: 1 }] } }],
    ['pocket', { parameters: { input_mode: 'text', prompts: [{ text: 'a dog walking in grass', weight: 1 }] } }],
  ]
  for (const [pipeline, options] of cases) {
    await server.load(pipeline)
    const page = await open(browser, server)
    const seen = []
    for (let turn = 0; turn < TIMES; turn++) {
      const { index } = await page.evaluate((o) => bench.open(o), options)
      await page.waitForFunction((i) => bench.times(i).first, index, { timeout: 20_000 })
      seen.push(await page.evaluate((i) => bench.times(i), index))
      await page.evaluate((i) => bench.close(i), index)
      await server.emptied()
      await sleep(300)
    }
    const since = (field) => seen.map((times) => times[field] - times.offer)
    const [first, connected, answer] = ['first', 'connected', 'answer'].map(since)
    result({
      case: pipeline,
      first_frame_median: round(median(first), 0),
      smallest: round(Math.min(...first), 0),
      largest: round(Math.max(...first), 0),
      answer_median: round(median(answer), 0),
      connected_median: round(median(connected), 0),
      click_to_offer_median: round(median(seen.map((times) => times.offer - times.click)), 0),
      times: TIMES,
    })
    await page.close()
  }
}
