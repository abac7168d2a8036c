import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually, sleep } from './wait.mjs'

export const TOKEN = 'measurements'

export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** The product: one process on a port of its own, with a data folder of its own. */
export class Server {
  log = ''
  /** From spawn to the first accepted TCP connection. */
  startMs = 0
  #child
  #dies = () => this.#child?.kill('SIGKILL')

  constructor(bin, { args = [], folder = mkdtempSync(join(tmpdir(), 'scope-bench-')) } = {}) {
    this.bin = bin
    this.args = args
    this.folder = folder
    process.on('exit', this.#dies)
  }

  get pid() {
    return this.#child.pid
  }

  get origin() {
    return `http://127.0.0.1:${this.port}`
  }

  get alive() {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  async start() {
    this.port ??= await freePort()
    const args = [
      '-N',
      '--port',
      String(this.port),
      '--token',
      TOKEN,
      '--no-stun',
      '--data-dir',
      this.folder,
      ...this.args,
    ]
    const { SCOPE_PORT, SCOPE_HOST, SCOPE_CONFIG, PIPELINE, ...env } = process.env
    const began = performance.now()
    const child = spawn(this.bin, args, {
      env: { ...env, HOME: this.folder },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    this.#child = child
    const keep = (chunk) => {
      this.log = (this.log + chunk).slice(-200_000)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    const up = await eventually(async () => !this.alive || (await accepts(this.port)), 20_000, 1)
    this.startMs = performance.now() - began
    if (!up || !this.alive) throw new Error(`the server does not listen\n${this.log}`)
    return this
  }

  async stop(signal = 'SIGKILL') {
    const child = this.#child
    if (!child || !this.alive) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await gone
  }

  async close() {
    await this.stop()
    process.off('exit', this.#dies)
    rmSync(this.folder, { recursive: true, force: true })
  }

  async api(path, { method = 'GET', json, body, headers = {} } = {}) {
    const response = await fetch(`${this.origin}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${TOKEN}`,
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      body: json === undefined ? body : JSON.stringify(json),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text === '' ? null : JSON.parse(text)
  }

  async load(pipeline, loadParams = {}) {
    await this.api('/api/v1/pipeline/load', {
      method: 'POST',
      json: { pipelines: [{ node_id: pipeline, pipeline_id: pipeline, load_params: loadParams }] },
    })
    const status = await eventually(async () => {
      const now = await this.api('/api/v1/pipeline/status')
      return now.status === 'loading' ? undefined : now
    }, 30_000)
    if (status?.status !== 'loaded') throw new Error(`cannot load ${pipeline}: ${JSON.stringify(status)}`)
  }

  async sessions() {
    return (await this.api('/api/v1/sessions')).sessions
  }

  /** Waits for all sessions to have ended. */
  async emptied(timeout = 60_000) {
    await eventually(async () => (await this.sessions()).length === 0, timeout, 200)
    await sleep(300)
  }
}
