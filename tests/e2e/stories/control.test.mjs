import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { inspect, suite } from '../lib/suite.mjs'
import { until } from '../lib/wait.mjs'

const { story } = suite()

const noDialog = (s) => s.page.getByRole('dialog').waitFor({ state: 'detached' })

story('50: the palette finds and does things by a few letters, with the keyboard alone', async (s) => {
  // From within a text field, which keeps its focus for what is chosen.
  await s.prompt().focus()
  await s.page.keyboard.press('Control+k')
  await s.tid('palette-input').waitFor()
  const first = () => s.page.getByRole('option', { selected: true }).textContent()
  await s.page.keyboard.type('card')
  assert.match(await first(), /Switch to Test card/)
  await s.page.keyboard.press('Enter')
  await noDialog(s)
  await until('the pipeline is the test card', async () =>
    (await s.tid('pipeline-select').textContent()).includes('Test card'),
  )
  assert.equal(await s.eval(() => document.activeElement?.dataset.testid), 'prompt-input-0')

  await s.prompt().fill('a robot walking on mars')
  await s.prompt().press('Control+Enter')
  await s.mode('Text')
  await s.page.keyboard.press('Control+k')
  await s.page.keyboard.type('stpr')
  assert.match(await first(), /Start, pause or resume/)
  await s.page.keyboard.press('Enter')
  await s.state('live', 20_000)
  await s.page.keyboard.press('Control+k')
  await s.page.keyboard.type('mars')
  assert.match(await first(), /Deck 1: a robot walking on mars/)
  await s.page.keyboard.press('Enter')
  await s.hue('a robot walking on mars')

  await s.page.keyboard.press('Control+k')
  await s.page.keyboard.type('no such thing at all')
  assert.equal(await s.tid('palette-entry').count(), 0)
  assert.deepEqual(await inspect(s.page, 'palette'), [])
  await s.page.keyboard.press('Escape')
  await noDialog(s)
})

story('51: a command gets another key, a conflict is said, and both outlive a reload', async (s) => {
  await s.start()
  const settings = async (page) => {
    await s.tid('settings-button').click()
    await s.page.getByRole('tab', { name: page, exact: true }).click()
  }
  const give = async (label, key) => {
    await s.page.getByRole('button', { name: `Add a key for ${label}`, exact: true }).click()
    await s.tid('key-capture').waitFor()
    await s.page.keyboard.press(key)
    await s.tid('key-capture').waitFor({ state: 'detached' })
  }
  await settings('Keyboard')
  await give('Stop', 'Shift+X')
  await give('Health details', 'r')
  assert.match(await s.tid('keys-hud').textContent(), /Also: Record/)
  assert.match(await s.tid('keys-record').textContent(), /Also: Health details/)
  await s.page.getByRole('button', { name: 'Take R away from Record', exact: true }).click()
  assert.doesNotMatch(await s.tid('keys-hud').textContent(), /Also/)
  await s.page.keyboard.press('Escape')
  await noDialog(s)

  await s.page.reload()
  await s.tid('start-stream-button').and(s.page.locator(':enabled')).click()
  await s.state('live', 20_000)
  await s.eval(() => document.activeElement?.blur())
  await s.page.keyboard.press('r')
  await s.tid('hud').waitFor()
  assert.equal(await s.tid('record-button').getAttribute('data-state'), 'off')
  await s.page.keyboard.press('Shift+X')
  await s.state('idle')
})

story('52: settings tell what the server is and has; a report holds no prompt', async (s) => {
  await s.start()
  await s.page.keyboard.press('Control+,')
  await s.tid('settings').waitFor()
  const { version, git_commit: commit } = await s.server.api('/health')
  await until('the version stands there', async () =>
    (await s.tid('settings').textContent()).includes(`${version} · ${commit}`),
  )
  const open = (page) => s.page.getByRole('tab', { name: page, exact: true }).click()
  const problems = []
  for (const page of await s.page.getByRole('tab').allTextContents()) {
    await open(page)
    await s.page.getByText('Asking the server…').waitFor({ state: 'detached' })
    problems.push(...(await inspect(s.page, page)))
  }
  assert.deepEqual(problems, [])

  await open('Video & network')
  const codec = s.tid('settings').getByText('VP8')
  await codec.waitFor()

  await open('API keys')
  const card = s.tid('account-civitai')
  await card.getByRole('textbox').or(card.locator('input')).fill('a-key-of-mine')
  await card.getByRole('button', { name: 'Store' }).click()
  await card.getByText('Set', { exact: true }).waitFor()
  const stored = async () => (await s.server.api('/api/v1/keys')).keys.find(({ id }) => id === 'civitai').is_set
  assert.equal(await stored(), true)
  await card.getByRole('button', { name: /Forget/ }).click()
  await card.getByText('Not set').waitFor()
  assert.equal(await stored(), false)

  await open('About')
  const [download] = await Promise.all([s.page.waitForEvent('download'), s.tid('save-report').click()])
  const text = readFileSync(await download.path(), 'utf8')
  const report = JSON.parse(text)
  assert.equal(report.session.state, 'live')
  assert.equal(report.server.health.git_commit, commit)
  assert.doesNotMatch(text, /dog walking/)
})

story('53: with single keys switched off only keys with Control work', async (s) => {
  await s.tid('settings-button').click()
  await s.tid('single-keys').click()
  await s.page.keyboard.press('Escape')
  await noDialog(s)
  await s.eval(() => document.activeElement?.blur())
  await s.page.keyboard.press('?')
  await s.page.keyboard.press('Control+k')
  await s.tid('palette').waitFor()
  assert.equal(await s.page.getByRole('dialog').count(), 1)
})

/** A MIDI device that the story plays. */
function stubMidi() {
  const input = { id: 'stub', name: 'Stub Knobs', state: 'connected', onmidimessage: null }
  window.midiAsked = 0
  window.playMidi = (...data) => input.onmidimessage?.({ data: Uint8Array.from(data) })
  navigator.requestMIDIAccess = async () => {
    window.midiAsked += 1
    return { inputs: new Map([[input.id, input]]), onstatechange: null }
  }
}

const cc = (s, number, value) => s.eval(([number, value]) => window.playMidi(0xb0, number, value), [number, value])
const noise = async (s) => Number(await s.tid('param-noise_scale').getAttribute('aria-valuenow'))

story(
  '41: a knob is mapped by moving it, picks its value up, and still does after a reload',
  async (s) => {
    await s.context.addInitScript(stubMidi)
    await s.open()
    assert.equal(await s.eval(() => window.midiAsked), 0, 'nobody is asked for MIDI who did not want it')
    await s.start()
    await s.eval(() => document.activeElement?.blur())
    await s.page.keyboard.press('Control+m')
    await s.tid('map-param|main|noise_scale').click()
    await until('the device is there', async () => (await s.tid('map-bar').textContent()).includes('Stub Knobs'))
    assert.deepEqual(await inspect(s.page, 'map mode'), [])
    await cc(s, 21, 3)
    await until('the mark names the knob', async () =>
      (await s.tid('map-param|main|noise_scale').textContent()).includes('CC 21'),
    )
    // Keys are mapped in the same way.
    await s.tid('map-command|record').click()
    await s.page.keyboard.press('w')
    await until('the key is mapped', async () => (await s.tid('map-command|record').textContent()).includes('Key W'))
    await s.page.keyboard.press('Escape')
    await s.tid('map-layer').waitFor({ state: 'detached' })

    await s.page.reload()
    await s.tid('start-stream-button').and(s.page.locator(':enabled')).click()
    await s.state('live', 20_000)
    await until('MIDI is listened to again', async () => (await s.eval(() => window.midiAsked)) === 1)
    const before = await noise(s)
    assert.equal(before, 0.7)
    // The knob is at 10 of 127 and the value at 0.7: nothing moves, but where the knob is can be seen.
    await cc(s, 21, 10)
    await s.tid('ghost').and(s.page.locator(':visible')).waitFor()
    await cc(s, 21, 60)
    assert.equal(await noise(s), before)
    await s.colour([['a dog walking in grass', 1]], before)
    await cc(s, 21, 100)
    await until('the knob has picked the value up', async () => Math.abs((await noise(s)) - 100 / 127) < 0.01)
    await cc(s, 21, 64)
    await until('the value follows', async () => Math.abs((await noise(s)) - 64 / 127) < 0.01)
    await s.colour([['a dog walking in grass', 1]], 64 / 127)
    assert.equal(await s.tid('ghost').and(s.page.locator(':visible')).count(), 0)

    await s.eval(() => document.activeElement?.blur())
    await s.page.keyboard.press('w')
    await until('it records', async () => (await s.tid('record-button').getAttribute('data-state')) === 'on')
    const saved = s.page.waitForEvent('download', { timeout: 30_000 })
    await s.page.keyboard.press('w')
    await saved
  },
  { open: false },
)

story(
  '41b: mappings are changed, saved, opened and removed',
  async (s) => {
    await s.context.addInitScript(stubMidi)
    await s.open()
    await s.pipeline('Test card')
    await s.tid('param-noise_scale').click({ button: 'right' })
    await s.page.getByRole('menuitem', { name: 'Map to a knob, pad or key' }).click()
    await s.tid('map-bar').waitFor()
    await until('MIDI is asked for', async () => (await s.eval(() => window.midiAsked)) === 1)
    await until('the stub listens', async () => (await s.tid('map-bar').textContent()).includes('Stub Knobs'))
    await cc(s, 7, 1)
    await s.tid('map-bar').getByRole('button', { name: 'All mappings…' }).click()
    const row = s.tid('mapping')
    assert.match(await row.textContent(), /CC 7 · ch 1.*Noise Scale.*Pick-up/)
    await row.getByRole('button', { expanded: false }).click()
    await row.getByRole('combobox', { name: 'Take-over' }).click()
    await s.page.getByRole('option', { name: 'None' }).click()
    await row.getByRole('spinbutton', { name: /Highest/ }).fill('50')
    await row.getByRole('spinbutton', { name: /Highest/ }).press('Enter')
    await row.getByRole('switch', { name: /Inverted/ }).click()
    assert.deepEqual(await inspect(s.page, 'controllers'), [])
    await cc(s, 7, 0)
    await until('half of the range, upside down', async () => (await noise(s)) === 0.5)

    const save = s.page.getByRole('button', { name: 'Save profile to a file' })
    const [download] = await Promise.all([s.page.waitForEvent('download'), save.click()])
    const file = readFileSync(await download.path(), 'utf8')
    await row.getByRole('button', { name: /^Remove/ }).click()
    await row.waitFor({ state: 'detached' })
    const open = (text) =>
      s.tid('map-import').setInputFiles({ name: 'mine.json', mimeType: 'application/json', buffer: Buffer.from(text) })
    await open('{"kind": "something else"}')
    await s.page.getByRole('alert').getByText('mine.json').waitFor()
    assert.equal(await row.count(), 0)
    await open(file)
    await row.waitFor()
    assert.equal(await s.tid('map-profile').textContent(), 'Main 2')
    await cc(s, 7, 127)
    await until('it works as before', async () => (await noise(s)) === 0)
  },
  { open: false },
)

story(
  '58: a pipeline whose schema asks for keys and mouse gets them, and Esc gives them back',
  async (s) => {
    await s.context.route('**/api/v1/pipelines/schemas', async (route) => {
      const response = await route.fetch()
      const body = await response.json()
      body.pipelines.testcard.config_schema.properties.ctrl_input = { type: 'object' }
      await route.fulfill({ response, json: body })
    })
    await s.open()
    await s.start({ pipeline: 'Passthrough' })
    assert.equal(await s.tid('steer').count(), 0, 'nothing asks for it')
    await s.stop()
    await s.start()
    const steer = s.tid('steer')
    assert.match(await steer.textContent(), /Click to steer/)
    const from = await s.sentCount()
    const controls = async () => (await s.sent(from)).flatMap((message) => message.ctrl_input ?? [])
    await steer.click()
    await steer.getByText('Esc gives them back').waitFor()
    await s.page.keyboard.down('w')
    await until('W is held', async () => (await controls()).some(({ button }) => button.includes('KeyW')))
    // Not the command of the key: that would record.
    await s.page.keyboard.press('r')
    assert.equal(await s.tid('record-button').getAttribute('data-state'), 'off')
    await s.page.mouse.move(300, 300)
    await s.page.mouse.move(340, 320)
    await until('the mouse moves', async () => (await controls()).some(({ mouse }) => mouse[0] !== 0 || mouse[1] !== 0))
    await s.eval(() => document.exitPointerLock())
    await steer.getByText('Click to steer').waitFor()
    assert.deepEqual((await controls()).at(-1), { button: [], mouse: [0, 0] })
    await s.moves()
  },
  { open: false },
)
