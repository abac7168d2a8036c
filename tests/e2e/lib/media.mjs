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
    ['-f', 'image2pipe', '-i', 'pipe:0', '-c:v', 'libwebp', '-quality', '85', '-f', 'webp', '-'],
    png,
  )
  // Into a pipe it is written before its length is known.
  picture.writeUInt32LE(picture.length - 8, 4)
  return picture
}

/** Width and height in the header of a PNG. */
export const pngSize = (png) => [png.readUInt32BE(16), png.readUInt32BE(20)]
