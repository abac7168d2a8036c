import { createReadStream, existsSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Serves the built app under the policy of the real server. */
const CSP =
  "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; style-src 'self' 'unsafe-inline'"
const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
  '.mp4': 'video/mp4',
}
const dist = fileURLToPath(new URL('../dist', import.meta.url))

export function serve(port = 0) {
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url, 'http://x').pathname)
    const wanted = join(dist, path)
    const file =
      wanted.startsWith(dist) && existsSync(wanted) && statSync(wanted).isFile() ? wanted : join(dist, 'index.html')
    const { size } = statSync(file)
    const headers = {
      'Content-Type': TYPES[extname(file)] ?? 'text/plain',
      'Content-Security-Policy': CSP,
      'Accept-Ranges': 'bytes',
    }
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
    if (range) {
      const start = Number(range[1])
      const end = range[2] ? Number(range[2]) : size - 1
      response.writeHead(206, {
        ...headers,
        'Content-Range': `bytes ${start}-${end}/${size}`,
        'Content-Length': end - start + 1,
      })
      createReadStream(file, { start, end }).pipe(response)
      return
    }
    response.writeHead(200, { ...headers, 'Content-Length': size })
    createReadStream(file).pipe(response)
  })
  return new Promise((resolve) =>
    server.listen(port, '127.0.0.1', () => resolve({ server, port: server.address().port })),
  )
}
