import assert from 'node:assert/strict'
import { join } from 'node:path'
import { colourPicture } from '../lib/media.mjs'
import { HERE } from '../lib/paths.mjs'
import { suite } from '../lib/suite.mjs'
import { SLOW, sleep, until } from '../lib/wait.mjs'

const { story } = suite({ server: { plugins: [join(HERE, 'plugins/widgets')] } })

/** In the order of sections, and in each of the schema. */
const FIELDS = [
  'width',
  'on',
  'tone',
  'picture',
  'level',
  'gain',
  'count',
  'size',
  'mood',
  'curve',
  'words',
  'camera',
  'later',
]
const RED = [192, 32, 32]

const parameters = (s) => s.server.api('/api/v1/session/parameters').then((it) => it.parameters ?? it)

/** The server has a value. */
const reaches = (s, key, wanted) =>
  until(
    `the server has ${key} = ${JSON.stringify(wanted)}`,
    async () => JSON.stringify((await parameters(s))[key]) === JSON.stringify(wanted),
    2000 * SLOW,
    () => parameters(s),
  )

const fields = (s) =>
  s.page
    .locator('[data-field]')
    .evaluateAll((nodes) =>
      nodes.filter((node) => !node.parentElement.closest('[data-field]')).map((node) => node.dataset.field),
    )

/** A text that belongs to a control. */
const described = (control) =>
  control.evaluate((node) => document.getElementById(node.getAttribute('aria-describedby'))?.textContent ?? '')

story(
  '29: a plugin that nobody knew has a widget for every parameter, and every value arrives',
  async (s) => {
    await s.pipeline('Widgets')
    assert.deepEqual(await fields(s), FIELDS)
    assert.equal(await s.tid('param-gain').inputValue(), '0.37')
    await s.tid('start-stream-button').click()
    await s.state('live', 20_000)
    await s.nearly(RED)
    await reaches(s, 'gain', 0.37)

    await s.tid('param-on').click()
    await reaches(s, 'on', true)

    await s.tid('param-gain').fill('-12.125')
    await s.tid('param-gain').press('Enter')
    await reaches(s, 'gain', -12.125)

    // What cannot be is corrected, said, and bound to the control.
    await s.tid('param-count').fill('4.6')
    await s.tid('param-count').press('Enter')
    await reaches(s, 'count', 5)
    assert.match(await described(s.tid('param-count')), /4\.6 is not whole; using 5/)
    await s.page.locator('[data-field="count"]').getByRole('button', { name: '10', exact: true }).click()
    await reaches(s, 'count', 10)
    await s.tid('param-level-value').fill('7')
    await s.tid('param-level-value').press('Enter')
    assert.equal(await s.tid('param-level-value').inputValue(), '1')
    assert.match(await described(s.tid('param-level-value')), /7 is too large; the most is 1/)
    await s.tid('param-level-value').fill('0.5')
    await s.tid('param-level-value').press('Enter')
    await s.nearly(RED.map((part) => part / 2))
    await s.page.getByRole('button', { name: 'Reset Level to its default' }).click()
    await s.nearly(RED)

    await s.tid('param-size').getByText('Large').click()
    await reaches(s, 'size', 'large')
    assert.equal(await s.tid('param-wildness').count(), 0, 'what depends on a mood is not there without it')
    await s.choose('param-mood', 'Wild')
    await reaches(s, 'mood', 'wild')
    await s.tid('param-wildness').waitFor()

    // Text goes out after a pause in typing, not on every key.
    const from = await s.sentCount()
    await s.tid('param-tone').fill('')
    await s.tid('param-tone').pressSequentially('#2020c0', { delay: 30 })
    await s.nearly([32, 32, 192])
    const said = (await s.sent(from)).filter((message) => 'tone' in message)
    assert.ok(said.length <= 2, `${said.length} messages for seven keys`)

    await s.tid('param-curve-0-value').fill('0.9')
    await s.tid('param-curve-0-value').press('Enter')
    await reaches(s, 'curve', [0.9, 0.8])
    await s.tid('param-words').fill('two, three')
    await s.tid('param-words').press('Enter')
    await reaches(s, 'words', ['one', 'two', 'three'])
    await s.page.getByRole('button', { name: 'Remove two' }).click()
    await reaches(s, 'words', ['one', 'three'])

    await s.tid('param-camera-zoom-value').fill('2.5')
    await s.tid('param-camera-zoom-value').press('Enter')
    await reaches(s, 'camera', { zoom: 2.5, still: true })
    assert.match(await s.tid('param-later').textContent(), /"a": 1/)

    // A file is chosen in a dialog that keeps the focus, and gives it back.
    await s.tid('param-picture-choose').click()
    const dialog = s.page.getByRole('dialog', { name: 'Choose: Picture' })
    await dialog.waitFor()
    for (let press = 0; press < 12; press++) await s.page.keyboard.press('Tab')
    assert.ok(await dialog.evaluate((node) => node.contains(document.activeElement)), 'focus stays in the dialog')
    await dialog.getByTestId('upload-media').setInputFiles({
      name: 'leaf.png',
      mimeType: 'image/png',
      buffer: colourPicture('green'),
    })
    await dialog.getByTestId('asset').waitFor()
    await dialog.getByTestId('pick-asset').click()
    await dialog.waitFor({ state: 'detached' })
    await s.nearly([20, 200, 20])
    assert.match((await parameters(s)).picture, /assets[\\/]leaf\.png$/)
    await s.page.getByRole('button', { name: 'Remove leaf.png' }).click()
    await s.nearly([32, 32, 192])

    // What is pinned stands first, also after a reload.
    await s.page.locator('[data-field="words"]').hover()
    await s.tid('pin-words').click()
    await until('it stands first', async () => (await fields(s))[0] === 'words')
    await s.page.reload()
    await s.tid('pinned').waitFor()
    assert.deepEqual((await fields(s)).slice(0, 2), ['words', 'width'])
    assert.equal(await s.tid('param-gain').inputValue(), '-12.125')
    await s.page.getByRole('searchbox', { name: 'Search parameters' }).fill('bounded')
    assert.deepEqual(await fields(s), ['gain'])
    await sleep(300)
  },
  { timeout: 60_000 * SLOW },
)
