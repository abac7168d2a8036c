import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Films a page: what Chromium paints, as an MP4 at `path` when `end` is called. */
export async function film(page, path) {
  const folder = mkdtempSync(join(tmpdir(), 'scope-film-'))
  const client = await page.context().newCDPSession(page)
  const frames = []
  const keep = ({ data, metadata, sessionId }) => {
    const name = `${frames.length}.jpg`
    writeFileSync(join(folder, name), Buffer.from(data, 'base64'))
    frames.push({ name, at: metadata.timestamp })
    // A page that is gone needs no answer.
    client.send('Page.screencastFrameAck', { sessionId }).catch(() => undefined)
  }
  client.on('Page.screencastFrame', keep)
  await client.send('Page.startScreencast', { format: 'jpeg', quality: 80, everyNthFrame: 4 })
  return {
    async end() {
      // Pictures that are on their way come after the answer, when the folder may be gone.
      client.off('Page.screencastFrame', keep)
      await client.send('Page.stopScreencast').catch(() => undefined)
      // Each picture stays until the next one.
      const list = frames.map(({ name, at }, index) => {
        const seconds = (frames[index + 1]?.at ?? at + 0.5) - at
        return `file '${name}'\nduration ${Math.max(seconds, 0.001).toFixed(3)}`
      })
      writeFileSync(join(folder, 'list.txt'), list.join('\n'))
      mkdirSync(join(path, '..'), { recursive: true })
      const scale = 'scale=trunc(iw/2)*2:trunc(ih/2)*2,format=yuv420p'
      const input = ['-f', 'concat', '-safe', '0', '-i', join(folder, 'list.txt')]
      const output = ['-vf', scale, '-r', '25', '-c:v', 'libx264', '-crf', '26', '-y', path]
      try {
        execFileSync('ffmpeg', ['-v', 'error', '-nostdin', ...input, ...output], { timeout: 120_000 })
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
      return frames.length
    },
  }
}
