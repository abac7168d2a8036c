import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SCOPE_BIN } from './paths.mjs'
import { sleep, until } from './wait.mjs'

export const TOKEN = 'browser-stories'

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

/** The product: one process on a port of its own, with a data folder of its own. */
export class Server {
  folder = mkdtempSync(join(tmpdir(), 'scope-e2e-'))
  log = ''
  port = 0
  #args
  /** Folders of plugins that are still to be installed. */
  #plugins
  #child = null
  #dies = () => this.#child?.kill('SIGKILL')

  constructor({ args = [], plugins = [] } = {}) {
    this.#args = args
    this.#plugins = plugins
    process.on('exit', this.#dies)
  }

  get pid() {
    return this.#child.pid
  }

  get origin() {
    return `http://127.0.0.1:${this.port}`
  }

  async start() {
    this.port ||= await freePort()
    const args = ['-N', '--port', String(this.port), '--token', TOKEN, '--no-stun', ...this.#args]
    const { SCOPE_PORT, SCOPE_HOST, SCOPE_CONFIG, PIPELINE, ...inherited } = process.env
    const env = { ...inherited, DAYDREAM_SCOPE_DIR: this.folder, HOME: this.folder }
    for (const plugin of this.#plugins.splice(0)) {
      execFileSync(SCOPE_BIN, ['plugins', 'install', '--yes', plugin], { env, timeout: 60_000 })
    }
    const child = spawn(SCOPE_BIN, args, {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    const keep = (chunk) => {
      this.log = (this.log + chunk).slice(-200_000)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.once('error', (error) => keep(`${error}\n`))
    await until(
      'the server answers',
      () => {
        if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}\n${this.log}`)
        return fetch(`${this.origin}/health`).then(
          (response) => response.ok,
          () => false,
        )
      },
      20_000,
      () => this.log,
    )
    return this
  }

  signal(name) {
    process.kill(this.pid, name)
  }

  /** Ends the process at once, as a crash would. */
  async kill() {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await gone
  }

  async restart() {
    await this.kill()
    this.log = ''
    await this.start()
  }

  async close() {
    await this.kill()
    process.off('exit', this.#dies)
    rmSync(this.folder, { recursive: true, force: true })
  }

  async api(path, { method = 'GET', json } = {}) {
    const response = await fetch(`${this.origin}${path}`, {
      method,
      headers: { authorization: `Bearer ${TOKEN}`, ...(json ? { 'content-type': 'application/json' } : {}) },
      ...(json ? { body: JSON.stringify(json) } : {}),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text === '' ? null : JSON.parse(text)
  }

  async sessions() {
    return (await this.api('/api/v1/sessions')).sessions
  }

  async renders() {
    return (await this.api('/api/v1/renders')).renders
  }

  /** Nothing loaded, nobody connected, nothing rendered: what the next story expects. */
  async clear() {
    for (const { id } of await this.renders()) await this.api(`/api/v1/renders/${id}`, { method: 'DELETE' })
    for (const { id } of await this.sessions()) await this.api(`/api/v1/sessions/${id}`, { method: 'DELETE' })
    await this.api('/api/v1/pipeline/unload', { method: 'POST', json: {} })
    await until('the pipeline is unloaded', async () => {
      const { status } = await this.api('/api/v1/pipeline/status')
      if (status !== 'not_loaded') await sleep(100)
      return status === 'not_loaded' || status === 'error'
    })
  }
}
