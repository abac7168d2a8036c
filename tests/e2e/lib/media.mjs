import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

const YUV = { red: [81, 90, 240], green: [145, 54, 34] }

/** A one-colour camera clip (BT.601, limited range), as Chromium's fake camera reads it. */
export function cameraClip(folder, colour, width = 640, height = 480) {
  const [y, u, v] = YUV[colour]
  const frame = Buffer.concat([
    Buffer.from('FRAME\n'),
    Buffer.alloc(width * height, y),
    Buffer.alloc((width * height) / 4, u),
    Buffer.alloc((width * height) / 4, v),
  ])
  const path = join(folder, `${colour}.y4m`)
  const header = Buffer.from(`YUV4MPEG2 W${width} H${height} F20:1 Ip A1:1 C420jpeg\n`)
  writeFileSync(path, Buffer.concat([header, ...Array.from({ length: 10 }, () => frame)]))
  return path
}

const ffmpeg = (args, input) =>
  execFileSync('ffmpeg', ['-v', 'error', '-nostdin', ...args], { input, maxBuffer: 64 << 20, timeout: 60_000 })

/** A short one-colour clip that every browser plays. */
export function colourClip(folder, colour) {
  const path = join(folder, `${colour}.webm`)
  ffmpeg(['-f', 'lavfi', '-i', `color=${colour}:s=320x240:r=15:d=2`, '-c:v', 'libvpx', '-b:v', '400k', '-y', path])
  return path
}

/** What ffprobe says of a file's video. */
export function probe(path) {
  const fields = 'stream=codec_name,width,height,nb_read_packets:format=duration'
  const args = ['-v', 'error', '-select_streams', 'v:0', '-count_packets', '-show_entries', fields, '-of', 'json', path]
  const { streams, format } = JSON.parse(execFileSync('ffprobe', args, { timeout: 60_000 }).toString())
  const [stream] = streams
  return {
    codec: stream.codec_name,
    width: stream.width,
    height: stream.height,
    frames: Number(stream.nb_read_packets),
    seconds: Number(format.duration),
  }
}

/** Mean colour of the picture's middle, of the frame at a time of a file or of a PNG in memory. */
export function meanColour(source, { at = null, crop = '0.6*iw:0.4*ih' } = {}) {
  const memory = Buffer.isBuffer(source)
  const filters = `${crop ? `crop=${crop},` : ''}format=rgb24`
  const input = memory ? ['-f', 'image2pipe', '-i', 'pipe:0'] : ['-i', source]
  const seek = at === null ? [] : ['-ss', String(at)]
  const args = ['-v', 'error', ...seek, ...input, '-vf', filters, '-frames:v', '1', '-f', 'rawvideo', '-']
  const pixels = execFileSync('ffmpeg', args, {
    ...(memory ? { input: source } : { stdio: ['ignore', 'pipe', 'inherit'] }),
    maxBuffer: 64 << 20,
    timeout: 60_000,
  })
  const sum = [0, 0, 0]
  for (let i = 0; i < pixels.length; i++) sum[i % 3] += pixels[i]
  return sum.map((value) => value / (pixels.length / 3))
}

/** The same picture as WebP: small enough for a repository. */
export function webp(png) {
  const picture = ffmpeg(
    ['-f', 'image2pipe', '-i', 'pipe:0', '-c:v', 'libwebp', '-quality', '75', '-f', 'webp', '-'],
    png,
  )
  // Into a pipe it is written before its length is known.
  picture.writeUInt32LE(picture.length - 8, 4)
  return picture
}

/** Width and height in the header of a PNG. */
export const pngSize = (png) => [png.readUInt32BE(16), png.readUInt32BE(20)]

/** A small one-colour picture as PNG. */
export const colourPicture = (colour, width = 64, height = 48) =>
  ffmpeg([
    '-f',
    'lavfi',
    '-i',
    `color=${colour}:s=${width}x${height}`,
    '-frames:v',
    '1',
    '-f',
    'image2pipe',
    '-c:v',
    'png',
    '-',
  ])

/** Of every frame of a test card's film: the number in its bottom row, and the mean colour of its middle. */
export function cardFrames(path) {
  const { width, height } = probe(path)
  const decoded = execFileSync(
    'ffmpeg',
    ['-v', 'fatal', '-nostdin', '-i', path, '-fps_mode', 'passthrough', '-pix_fmt', 'rgb24', '-f', 'rawvideo', '-'],
    { maxBuffer: 1 << 30, timeout: 120_000 },
  )
  const size = width * height * 3
  const cell = width / 16
  return Array.from({ length: decoded.length / size }, (_, frame) => {
    const at = (x, y) => frame * size + (Math.floor(y) * width + Math.floor(x)) * 3
    let number = 0
    for (let bit = 0; bit < 16; bit++) {
      number = number * 2 + (decoded[at((bit + 0.5) * cell, height - cell / 2) + 1] > 128 ? 1 : 0)
    }
    const rgb = [0, 0, 0]
    const points = 25
    for (let i = 0; i < points; i++) {
      const from = at(width * (0.3 + 0.1 * (i % 5)), height * (0.4 + 0.05 * Math.floor(i / 5)))
      for (let c = 0; c < 3; c++) rgb[c] += decoded[from + c] / points
    }
    return { number, rgb }
  })
}

/** A hash of the pixels of every frame of a film. */
export const pictures = (path) =>
  ffmpeg(['-i', path, '-fps_mode', 'passthrough', '-f', 'framemd5', '-'])
    .toString()
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(',').at(-1).trim())
