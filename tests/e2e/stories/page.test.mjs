import assert from 'node:assert/strict'
import { inspect, suite } from '../lib/suite.mjs'
import { sleep, until } from '../lib/wait.mjs'

const { story } = suite()

/** Everything a Tab should come to: shown, enabled, and not one of a group that arrows move in. */
function reachable() {
  const wanted = 'a[href], button, input, textarea, select, summary, [tabindex]'
  return [...document.querySelectorAll(wanted)].filter(
    (node) =>
      node.tabIndex >= 0 &&
      !node.disabled &&
      !node.closest('[inert], [aria-hidden="true"]') &&
      node.checkVisibility({ visibilityProperty: true }) &&
      node.getClientRects().length > 0,
  )
}

/** Presses Tab through the page; what cannot be reached comes back by name. */
async function unreached(s) {
  const nodes = await s.page.evaluateHandle(reachable)
  const count = await nodes.evaluate((nodes) => {
    window.e2e.targets = new Set(nodes)
    window.e2e.reached = new Set()
    document.activeElement?.blur()
    document.addEventListener('focusin', (event) => window.e2e.reached.add(event.target))
    return nodes.length
  })
  const left = () =>
    s.eval(() =>
      [...window.e2e.targets]
        .filter((node) => node.isConnected && !window.e2e.reached.has(node))
        .map((node) => node.outerHTML.slice(0, 120)),
    )
  // What comes into the page meanwhile takes a press, too: a second round finds what the first had none left for.
  for (let round = 0; round < 2 && (round === 0 || (await left()).length > 0); round++)
    for (let i = 0; i < count + 10; i++) await s.page.keyboard.press('Tab')
  return left()
}

story(
  '42: every state is accessible, by axe and by keyboard',
  async (s) => {
    const problems = []
    const look = async (name) => problems.push(...(await inspect(s.page, name)))
    await look('idle')
    assert.deepEqual(await unreached(s), [])
    await s.start()
    const wide = () => s.tid('timeline-block').evaluate((node) => node.getBoundingClientRect().width > 140)
    await until('the live take has room for its badge', wide, 10_000)
    await look('live')
    assert.deepEqual(await unreached(s), [])

    await s.page.emulateMedia({ reducedMotion: 'reduce' })
    const restless = await s.eval(() =>
      document
        .getAnimations()
        .filter((animation) => animation.playState === 'running' && animation.effect.getTiming().duration > 50)
        .map((animation) => animation.animationName ?? animation.transitionProperty),
    )
    assert.deepEqual(restless, [])

    await s.eval(() => document.activeElement?.blur())
    for (const [key, name] of [
      ['?', 'shortcuts'],
      ['`', 'log'],
    ]) {
      await s.page.keyboard.press(key)
      await s.page.getByRole('dialog').waitFor()
      await sleep(300)
      await look(name)
      await s.page.keyboard.press('Escape')
      await s.page.getByRole('dialog').waitFor({ state: 'detached' })
    }

    await s.page.setViewportSize({ width: 390, height: 844 })
    for (const tab of ['Deck', 'Takes', 'Source', 'Tune']) {
      await s.page.getByRole('tab', { name: tab }).click()
      await sleep(200)
      await look(`narrow, ${tab}`)
    }
    await s.page.setViewportSize({ width: 1440, height: 900 })
    await s.inject({ type: 'stream_stopped', error_message: 'it broke', error_code: 'pipeline_failed' })
    await s.tid('error-card').waitFor()
    await look('error')
    assert.deepEqual(problems, [])
  },
  { timeout: 120_000 },
)

const DIALOGS = [
  ['palette', 'Control+k'],
  ['settings', 'Control+,'],
  ['shortcuts', '?'],
  ['models', 'm'],
  ['log', '`'],
]
const MODAL = new Set(['palette', 'settings', 'shortcuts'])

story(
  '42d: every dialog is accessible on a desktop and on a phone, and gives the focus back',
  async (s) => {
    const problems = []
    for (const [width, height] of [
      [1440, 900],
      [390, 844],
    ]) {
      await s.page.setViewportSize({ width, height })
      await sleep(300)
      for (const [name, key] of DIALOGS) {
        const where = `${name} at ${width}`
        await s.tid('start-stream-button').focus()
        await s.page.keyboard.press(key)
        const dialog = s.page.getByRole('dialog')
        await dialog.waitFor()
        await sleep(300)
        problems.push(...(await inspect(s.page, where)))
        const wide = await dialog.evaluate((node) => {
          const box = node.getBoundingClientRect()
          return box.left < 0 || box.right > window.innerWidth || box.bottom > window.innerHeight
        })
        if (wide) problems.push(`${where}: it is larger than the window`)
        if (MODAL.has(name)) {
          for (let i = 0; i < 12; i++) await s.page.keyboard.press('Tab')
          const inside = await dialog.evaluate((node) => node.contains(document.activeElement))
          if (!inside) problems.push(`${where}: Tab leaves it`)
        }
        await s.page.keyboard.press('Escape')
        await dialog.waitFor({ state: 'detached' })
        const focused = () => s.eval(() => document.activeElement?.dataset.testid)
        await until(
          `${where}: the focus is back`,
          async () => (await focused()) === 'start-stream-button',
          2000,
          focused,
        )
      }
    }
    assert.deepEqual(problems, [])
  },
  { timeout: 120_000 },
)

story('42c: with less motion nothing moves that need not, whatever the system says', async (s) => {
  const restless = () =>
    s.eval(() =>
      document
        .getAnimations()
        .filter((animation) => animation.playState === 'running' && animation.effect.getTiming().duration > 50)
        .map((animation) => animation.animationName ?? animation.transitionProperty),
    )
  await s.tid('settings-button').click()
  await s.tid('less-motion').click()
  await s.page.keyboard.press('Escape')
  await s.start()
  await s.take('a robot walking on mars')
  await s.inject({ type: 'stream_stopped', error_message: 'it broke', error_code: 'pipeline_failed' })
  await s.tid('error-card').waitFor()
  await s.page.getByRole('button', { name: 'Restart pipeline' }).click()
  assert.deepEqual(await restless(), [])
  await s.state('live', 20_000)
  assert.deepEqual(await restless(), [])
})

story(
  '44: while it plays and nobody touches it the page hardly renders',
  async (s) => {
    await s.context.addInitScript(() => localStorage.setItem('scopeTest', '1'))
    await s.open()
    await s.start()
    await s.eval(() => document.activeElement?.blur())
    await s.page.keyboard.press('h')
    await s.tid('hud').waitFor()
    await sleep(5000)
    const commits = () => s.eval(() => window.__scopeCommits)
    const before = await commits()
    assert.ok(before > 0, 'commits are counted')
    const SECONDS = 20
    await sleep(SECONDS * 1000)
    const rate = ((await commits()) - before) / SECONDS
    assert.ok(rate <= 2, `${rate} commits per second`)
    // It does hear of what changes.
    await s.page.keyboard.press('h')
    await until('a commit for a change', async () => (await commits()) > before + rate * SECONDS)
    await s.moves()
  },
  { open: false },
)

const SIZES = [
  [1440, 900],
  [1024, 768],
  [820, 1180],
  [390, 844],
  [360, 640],
  // 1440×900 at 200 %.
  [720, 450],
]

story(
  '43: nothing scrolls sideways, and what matters is in view',
  async (s) => {
    const inView = async (locator, what) => {
      const box = await locator.first().boundingBox()
      const view = s.page.viewportSize()
      const ok =
        box && box.x >= 0 && box.y >= 0 && box.x + box.width <= view.width + 1 && box.y + box.height <= view.height + 1
      return ok ? [] : [`${view.width}×${view.height}: ${what} is at ${JSON.stringify(box)}`]
    }
    const check = async (...wanted) => {
      const problems = []
      for (const [width, height] of SIZES) {
        await s.page.setViewportSize({ width, height })
        await sleep(250)
        const wide = await s.eval(() => document.documentElement.scrollWidth - window.innerWidth)
        if (wide > 0) problems.push(`${width}×${height}: scrolls ${wide} px sideways`)
        for (const id of wanted) problems.push(...(await inView(s.tid(id), id)))
        const stage = s.page.locator('section[aria-label="Stage"]')
        problems.push(...(await inView(stage, 'stage')))
        const box = await stage.boundingBox()
        if (!box || box.height < 100) problems.push(`${width}×${height}: the stage is ${box?.height} px high`)
      }
      return problems
    }
    const problems = await check('start-stream-button', 'prompt-input-0', 'take-button')
    await s.page.setViewportSize({ width: 1440, height: 900 })
    await s.start()
    problems.push(...(await check('stop-button', 'pause-button', 'prompt-input-0', 'take-button')))
    await until('it still plays', async () => (await s.currentState()) === 'live')
    assert.deepEqual(problems, [])
  },
  { timeout: 120_000 },
)
