import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'

const hex = (algorithm, ...parts) =>
  parts.reduce((hash, part) => hash.update(part), createHash(algorithm)).digest('hex')
const gitBlob = (bytes) => hex('sha1', `blob ${bytes.length}\0`, bytes)

/** Files of at least this size come from another address, which is named after their checksum. */
const LARGE = 100_000

/** A server that hands out the files of a folder, REPOSITORY/PATH, as Hugging Face does, and misbehaves when it is told to. */
export class Hub {
  /** Every request for bytes: `{ file, range, open }`; `open` until the answer has been sent or its client has gone. */
  asked = []
  #folder
  #blobs = new Map()
  #faults = new Map()
  #refused = new Map()
  #server = createServer((request, response) => this.#answer(request, response))

  constructor(folder) {
    this.#folder = folder
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`
  }

  async start() {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening')
    return this
  }

  async close() {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  /** What goes wrong with the next answer for the bytes of a file: `cut` ends it in the middle, `flip` changes a bit, `hold` waits
   * in the middle until the client goes. */
  fault(file, kind) {
    this.#faults.set(file, [...(this.#faults.get(file) ?? []), kind])
  }

  /** From now on everything asked about a file is answered with this status; with 200 it is handed out again. */
  refuse(file, status) {
    this.#refused.set(file, status)
  }

  ranges(file) {
    return this.asked.filter((request) => request.file === file).map(({ range }) => range)
  }

  #answer(request, response) {
    const path = new URL(request.url, this.origin).pathname
    const blob = this.#blobs.get(path)
    if (blob) return this.#send(request, response, blob, readFileSync(join(this.#folder, blob)), {})
    const [, name, rest] = path.match(/^\/[\w-]+\/([\w.-]+)\/resolve\/main\/([\w./-]+)$/) ?? []
    const file = `${name}/${rest}`
    const status = this.#refused.get(file) ?? 200
    if (status !== 200) {
      response.writeHead(status, { 'content-length': 0 }).end()
      return
    }
    let bytes
    try {
      bytes = readFileSync(join(this.#folder, file))
    } catch {
      response.writeHead(404, { 'content-length': 0 }).end()
      return
    }
    if (bytes.length < LARGE) return this.#send(request, response, file, bytes, { etag: `"${gitBlob(bytes)}"` })
    const sha256 = hex('sha256', bytes)
    this.#blobs.set(`/blob/${sha256}`, file)
    const linked = { 'x-linked-size': bytes.length, 'x-linked-etag': `"${sha256}"` }
    response.writeHead(302, { location: `${this.origin}/blob/${sha256}`, 'content-length': 0, ...linked }).end()
  }

  #send(request, response, file, whole, headers) {
    const [, start] = request.headers.range?.match(/^bytes=(\d+)-$/) ?? []
    const from = Number(start ?? 0)
    const body = Buffer.from(whole.subarray(from))
    if (start !== undefined) headers['content-range'] = `bytes ${from}-${whole.length - 1}/${whole.length}`
    response.writeHead(start === undefined ? 200 : 206, { ...headers, 'content-length': body.length })
    if (request.method === 'HEAD') {
      response.end()
      return
    }
    const asked = { file, range: request.headers.range ?? null, open: true }
    this.asked.push(asked)
    response.once('close', () => {
      asked.open = false
    })
    const fault = this.#faults.get(file)?.shift()
    if (fault === 'flip') body[body.length >> 1] ^= 1
    if (fault !== 'cut' && fault !== 'hold') {
      response.end(body)
      return
    }
    response.write(body.subarray(0, body.length >> 1), () => {
      if (fault === 'cut') response.destroy()
    })
  }
}
