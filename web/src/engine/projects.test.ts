import { beforeEach, describe, expect, it } from 'vitest'
import { ApiError } from '../api/http'
import type { Expected, ProjectsApi } from '../api/projects'
import { newDoc } from '../doc/model'
import { bindingStore, changeDoc, docStore } from '../doc/store'
import type { KeptProject, Vault } from '../doc/vault'
import { cleanName, freeName, Projects } from './projects'

/** A server with projects, as far as this page sees it. */
class Server {
  files = new Map<string, { text: string; tag: string }>()
  absent = false
  private count = 0

  readonly api = {
    list: async () => {
      if (this.absent) throw new ApiError('Not Found', 404, 'http_404')
      return [...this.files].map(([name, { text }]) => ({ name, bytes: text.length, modified: '' }))
    },
    read: async (name: string) => {
      const file = this.files.get(name)
      if (!file) throw new ApiError('Not Found', 404, 'http_404')
      return file
    },
    write: async (name: string, content: unknown, expected: Expected) => {
      const present = this.files.get(name)
      const ok =
        expected === 'anything' || (expected === 'nothing' ? present === undefined : present?.tag === expected.tag)
      if (!ok) throw new ApiError('changed', 412, 'project_changed')
      this.count += 1
      const tag = `"${this.count}"`
      this.files.set(name, { text: JSON.stringify(content), tag })
      return tag
    },
    remove: async (name: string) => void this.files.delete(name),
  } as unknown as ProjectsApi
}

class Shelf {
  kept = new Map<string, KeptProject>()
  projects = async () => [...this.kept.values()]
  project = async (name: string) => this.kept.get(name) ?? null
  keepProject = async (project: KeptProject) => void this.kept.set(project.name, project)
  removeProject = async (name: string) => void this.kept.delete(name)
}

let server: Server
let shelf: Shelf
let projects: Projects
let time = 0
const binding = () => bindingStore.getState().binding

beforeEach(() => {
  server = new Server()
  shelf = new Shelf()
  time = 1000
  docStore.setState(newDoc(), true)
  bindingStore.setState({ binding: null })
  projects = new Projects(
    server.api,
    shelf as unknown as Vault,
    () => (time += 1000),
    () => 0,
  )
})

const type = (name: string) => changeDoc((doc) => ({ ...doc, history: [name] }))

describe('a named project', () => {
  it('is clean when saved, dirty when changed, and clean again', async () => {
    expect(await projects.saveAs('A')).toBe('saved')
    expect(docStore.getState().name).toBe('A')
    expect(binding()).toMatchObject({ name: 'A', where: 'server', dirty: false })
    type('x')
    expect(binding()?.dirty).toBe(true)
    expect(await projects.save()).toBe('saved')
    expect(binding()?.dirty).toBe(false)
  })
  it('that was changed while it was being saved is dirty', async () => {
    const saving = projects.saveAs('A')
    await Promise.resolve()
    await Promise.resolve()
    type('while saving')
    await saving
    const outcome = await projects.read('A', 'server')
    const kept = 'doc' in outcome && outcome.doc.history
    expect(binding()?.dirty).toBe(!(kept && kept[0] === 'while saving'))
  })
  it('refuses to replace another of its name unless told to', async () => {
    await projects.saveAs('A')
    bindingStore.setState({ binding: null })
    type('other')
    expect(await projects.saveAs('A')).toBe('conflict')
    expect(await projects.saveAs('A', true)).toBe('saved')
  })
  it('asks when somebody else has saved it, and can overwrite', async () => {
    await projects.saveAs('A')
    await server.api.write('A', { other: true }, 'anything')
    type('mine')
    expect(await projects.save()).toBe('conflict')
    expect(server.files.get('A')?.text).toContain('other')
    expect(await projects.save(true)).toBe('saved')
    expect(server.files.get('A')?.text).toContain('mine')
  })
  it('that was deleted elsewhere is a conflict, not a loss', async () => {
    await projects.saveAs('A')
    server.files.delete('A')
    type('mine')
    expect(await projects.save()).toBe('conflict')
  })
  it('comes back whole', async () => {
    type('kept')
    await projects.saveAs('A')
    const saved = docStore.getState()
    docStore.setState(newDoc(), true)
    const outcome = await projects.read('A', 'server')
    expect('doc' in outcome && outcome.doc).toEqual(saved)
    expect('binding' in outcome && outcome.binding).toMatchObject({ name: 'A', tag: '"1"', dirty: false })
  })
  it('that is no project says why', async () => {
    server.files.set('B', { text: '{"hello": 1}', tag: '"b"' })
    expect(await projects.read('B', 'server')).toEqual({ problem: { code: 'unknown' } })
  })
  it('is renamed without leaving the old one, and not onto another', async () => {
    await projects.saveAs('A')
    await server.api.write('C', {}, 'nothing')
    expect(await projects.rename('C')).toBe('conflict')
    expect([...server.files.keys()].sort()).toEqual(['A', 'C'])
    expect(await projects.rename('B')).toBe('saved')
    expect([...server.files.keys()].sort()).toEqual(['B', 'C'])
    expect(docStore.getState().name).toBe('B')
  })
  it('that is deleted leaves the document without a name of its own', async () => {
    await projects.saveAs('A')
    await projects.remove('A', 'server')
    expect(binding()).toBeNull()
    expect(server.files.size).toBe(0)
  })
})

describe('without projects on the server', () => {
  it('keeps them in the browser, with the same rules', async () => {
    server.absent = true
    expect(await projects.saveAs('A')).toBe('saved')
    expect(binding()?.where).toBe('browser')
    expect((await projects.list()).projects.map(({ name }) => name)).toEqual(['A'])
    expect(await projects.saveAs('A')).toBe('conflict')
    type('x')
    expect(await projects.save()).toBe('saved')
    // Another tab.
    await shelf.keepProject({ name: 'A', at: 5, text: '{}' })
    expect(await projects.save()).toBe('conflict')
    const outcome = await projects.read('A', 'browser')
    expect('problem' in outcome).toBe(true)
  })
  it('does not take a server that fails for one without', async () => {
    server.api.list = () => Promise.reject(new ApiError('no answer', 0, 'server_unreachable'))
    await expect(projects.saveAs('A')).rejects.toThrow('no answer')
    expect(shelf.kept.size).toBe(0)
  })
})

describe('names', () => {
  it('are such that any system can have a file of them', () => {
    expect(cleanName(' ..My: "night" / 2.')).toBe('My night 2')
    expect(cleanName('a'.repeat(99))).toHaveLength(60)
    expect(cleanName('///')).toBe('')
  })
  it('of copies count on', () => {
    expect(freeName('Night', ['Night'])).toBe('Night 2')
    expect(freeName('Night 2', ['night', 'NIGHT 2', 'Night 3'])).toBe('Night 4')
  })
})
