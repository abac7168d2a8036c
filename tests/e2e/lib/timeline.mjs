import { DOG } from './story.mjs'
import { sleep } from './wait.mjs'

/** A small performance, and a hand on the timeline that it makes. */

export const COW = 'a cow walking in grass'
export const DRAGON = 'a dragon flying through clouds'
export const ROBOT = 'a robot walking on mars'
export const TEXTS = [DOG, COW, DRAGON]

/** Dog, cow and dragon, each a good two seconds long; live at the end. */
export async function perform(s, ms = 2500) {
  await s.start()
  for (const text of [COW, DRAGON]) {
    await sleep(ms)
    await s.take(text)
  }
  await sleep(ms)
  await s.leaveBox()
}

/** The same, stopped. */
export async function record(s, ms) {
  await perform(s, ms)
  await s.stop()
}

export const texts = async (s) => (await s.blocks()).map(({ text }) => text)
export const spans = async (s) => (await s.blocks()).map(({ start, end }) => [start, end])
export const active = (s) => s.page.locator('[data-testid="timeline-block"][data-active="true"]').getAttribute('title')
export const mode = (s) => s.tid('timeline-mode').getAttribute('data-mode')
export const selection = (s) =>
  s.page
    .locator('[data-testid="timeline-block"][aria-selected="true"]')
    .evaluateAll((nodes) => nodes.map((node) => node.title))

/** Where a time is in the window, from where a block that has an end is. */
export const xAt = (s, ms) =>
  s.tid('timeline-block').evaluateAll((nodes, ms) => {
    const node = nodes.find(({ dataset }) => dataset.end !== '')
    const { left, width } = node.getBoundingClientRect()
    const [start, end] = [Number(node.dataset.start), Number(node.dataset.end)]
    return left + ((ms - start) * width) / (end - start)
  }, ms)

export const middleOf = async (locator) => {
  const { x, y, width, height } = await locator.boundingBox()
  return [x + width / 2, y + height / 2]
}

export async function drag(s, [fromX, fromY], [toX, toY], { before = async () => {} } = {}) {
  await s.page.mouse.move(fromX, fromY)
  await s.page.mouse.down()
  await s.page.mouse.move((fromX + toX) / 2, (fromY + toY) / 2, { steps: 4 })
  await s.page.mouse.move(toX, toY, { steps: 4 })
  await before()
  await s.page.mouse.up()
}
