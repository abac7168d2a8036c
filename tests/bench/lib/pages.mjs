import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'

const FILES = { '/': ['bench.html', 'text/html'], '/bench.js': ['bench.js', 'text/javascript'] }

/** Serves the measuring page from an origin of its own. */
export async function servePages() {
  const server = createServer(async (request, response) => {
    const [name, type] = FILES[request.url.split('?')[0]] ?? []
    if (!name) {
      response.writeHead(404).end()
      return
    }
    const body = await readFile(new URL(`../pages/${name}`, import.meta.url))
    response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() }
}
