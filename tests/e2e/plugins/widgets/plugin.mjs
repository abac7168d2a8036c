import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'

/**
 * A pipeline whose parameters are of every kind that a schema can have, written against the protocol alone. Its picture says
 * what reached it: the colour is `tone`, darkened by `level`, and green where a file is named that can be read.
 */
const WIDTH = 128
const HEIGHT = 96
const FRAMES = 3

let order = 0
const live = (prop, ui = {}) => {
  order += 1
  return { ...prop, ui: { category: 'configuration', is_load_param: false, order, section: 'general', ...ui } }
}
const properties = {
  width: { type: 'integer', default: WIDTH, minimum: 16, maximum: 512 },
  height: { type: 'integer', default: HEIGHT, minimum: 16, maximum: 512 },
  on: live({ type: 'boolean', default: false, title: 'On' }, { section: 'look' }),
  tone: live({ type: 'string', default: '#c02020', title: 'Tone' }, { section: 'look' }),
  picture: live({ type: 'string', default: '', title: 'Picture' }, { section: 'look', component: 'image' }),
  level: live({ type: 'number', default: 1, minimum: 0, maximum: 1, title: 'Level' }, { section: 'motion', unit: 'x' }),
  gain: live({ type: 'number', default: 0.37, title: 'Gain', description: 'Not bounded.' }, { section: 'motion' }),
  count: live({ type: 'integer', default: 3, minimum: 1, title: 'Count' }, { presets: [1, 10] }),
  size: live({ type: 'string', enum: ['small', 'medium', 'large'], default: 'small', title: 'Size' }),
  mood: live({ type: 'string', enum: ['calm', 'wild', 'odd', 'sad', 'glad'], default: 'calm', title: 'Mood' }),
  wildness: live({ type: 'number', default: 0, title: 'Wildness' }, { depends_on: { mood: 'wild' } }),
  curve: live({
    type: 'array',
    items: { type: 'number', minimum: 0, maximum: 1 },
    default: [0.2, 0.8],
    title: 'Curve',
  }),
  words: live({ type: 'array', items: { type: 'string' }, default: ['one'], title: 'Words' }),
  camera: live({
    type: 'object',
    title: 'Camera',
    default: { zoom: 1, still: true },
    properties: {
      zoom: { type: 'number', minimum: 1, maximum: 8, default: 1, title: 'Zoom' },
      still: { type: 'boolean', default: true, title: 'Still' },
    },
  }),
  later: live(
    { type: 'array', items: { type: 'object' }, default: [{ a: 1 }], title: 'Later' },
    { component: 'hologram' },
  ),
}
const pipeline = {
  id: 'widgets',
  name: 'Widgets',
  description: 'Parameters of every kind.',
  supported_modes: ['text'],
  default_mode: 'text',
  config_schema: { properties },
}

const send = (message) => {
  const text = Buffer.from(JSON.stringify(message))
  const head = Buffer.alloc(4)
  head.writeUInt32LE(text.length)
  writeSync(1, Buffer.concat([head, text]))
}

let output = null
const free = []
const held = new Map()

function colour({ tone = '', level = 1, picture = '' }) {
  let [r, g, b] = [1, 3, 5].map((at) => Number.parseInt(tone.slice(at, at + 2), 16) || 0)
  try {
    if (picture !== '' && readFileSync(picture).length > 0) [r, g, b] = [20, 200, 20]
  } catch {
    ;[r, g, b] = [0, 0, 0]
  }
  return [r, g, b].map((part) => Math.round(part * level))
}

const answer = {
  hello: () => send({ type: 'hello', protocol: 1, name: 'widgets', version: '0.1.0', pipelines: [pipeline] }),
  load({ output: file }) {
    output = { file: openSync(file.path, 'r+'), bytes: file.slot_bytes }
    for (let slot = 0; slot < file.slots; slot++) free.push(slot)
    send({ type: 'loaded' })
  },
  start({ session }) {
    held.set(session, {})
    send({ type: 'started', needs: { frames: 0, frame_rate: 15 } })
  },
  generate({ session, parameters }) {
    const known = { ...held.get(session), ...parameters }
    held.set(session, known)
    const pixels = Buffer.from(colour(known))
    for (let n = 0; n < FRAMES; n++) {
      const slot = free.shift()
      if (slot === undefined) break
      writeSync(output.file, Buffer.alloc(WIDTH * HEIGHT * 3, pixels), 0, WIDTH * HEIGHT * 3, slot * output.bytes)
      send({ type: 'frame', port: 'video', slot, width: WIDTH, height: HEIGHT })
    }
    send({ type: 'done' })
  },
  taken: ({ slot }) => free.push(slot),
  stop: ({ session }) => held.delete(session),
  bye() {
    if (output) closeSync(output.file)
    process.exit(0)
  },
}

let buffered = Buffer.alloc(0)
process.stdin.on('data', (chunk) => {
  buffered = Buffer.concat([buffered, chunk])
  while (buffered.length >= 4) {
    const length = buffered.readUInt32LE()
    if (buffered.length < 4 + length) return
    const message = JSON.parse(buffered.subarray(4, 4 + length).toString())
    buffered = buffered.subarray(4 + length)
    answer[message.type]?.(message)
  }
})
process.stdin.on('end', () => process.exit(0))
