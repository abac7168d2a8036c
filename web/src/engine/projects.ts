import { isConflict, isMissing, type ProjectEntry, type ProjectsApi } from '../api/projects'
import type { FileProblem } from '../doc/files/json'
import type { ProjectDoc } from '../doc/model'
import { type Binding, bindingStore, changeDoc, docStore } from '../doc/store'
import type { Vault } from '../doc/vault'

/** Named projects: on the server, or in this browser where the server keeps none. */

export const MAX_NAME = 60

export type SaveOutcome = 'saved' | 'conflict'
export type OpenOutcome = { doc: ProjectDoc; binding: Binding } | { problem: FileProblem }

export interface ProjectList {
  where: Binding['where']
  projects: ProjectEntry[]
}

/** A name that a file can have on any system. */
export function cleanName(name: string): string {
  return name
    .replace(/[/\\:*?"<>|\p{Cc}]/gu, ' ')
    .replace(/\s+/g, ' ')
    .replace(/^[. ]+|[. ]+$/g, '')
    .slice(0, MAX_NAME)
    .trim()
}

/** "Name 2", "Name 3"…: the first that is free. */
export function freeName(name: string, taken: readonly string[]): string {
  const used = new Set(taken.map((other) => other.toLowerCase()))
  const base = name.replace(/ \d+$/, '')
  for (let n = 2; ; n++) {
    const candidate = `${base.slice(0, MAX_NAME - 4)} ${n}`
    if (!used.has(candidate.toLowerCase())) return candidate
  }
}

export class Projects {
  private settling = false

  constructor(
    private readonly api: ProjectsApi,
    private readonly vault: Vault,
    private readonly now: () => number,
    private readonly clockMs: () => number,
  ) {
    docStore.subscribe(() => this.touched())
  }

  private touched(): void {
    const { binding } = bindingStore.getState()
    if (binding && !binding.dirty && !this.settling) bindingStore.setState({ binding: { ...binding, dirty: true } })
  }

  /** Changes document and binding together, which is no edit of the project. */
  settle(change: () => void): void {
    this.settling = true
    try {
      change()
    } finally {
      this.settling = false
    }
  }

  async list(): Promise<ProjectList> {
    try {
      return { where: 'server', projects: await this.api.list() }
    } catch (cause) {
      if (!isMissing(cause)) throw cause
    }
    const kept = await this.vault.projects()
    const projects = kept.map(({ name, at, text }) => ({
      name,
      bytes: text.length,
      modified: new Date(at).toISOString(),
    }))
    return { where: 'browser', projects }
  }

  /** Saves under the name it has; a conflict when somebody else has changed it. */
  async save(force = false): Promise<SaveOutcome> {
    const { binding } = bindingStore.getState()
    if (!binding) throw new Error('The project has no name')
    return this.write(binding.name, binding.where, force ? 'anything' : binding.tag === null ? 'nothing' : 'tag')
  }

  /** Saves under another name; a conflict when it is taken. */
  async saveAs(name: string, replace = false): Promise<SaveOutcome> {
    const { where } = await this.list()
    return this.write(name, where, replace ? 'anything' : 'nothing')
  }

  private async write(name: string, where: Binding['where'], expected: 'anything' | 'nothing' | 'tag') {
    const { writeProject } = await import('../doc/files/project')
    const written = docStore.getState()
    const file = writeProject({ ...written, name }, new Date(this.now()).toISOString(), this.clockMs())
    const before = bindingStore.getState().binding?.tag ?? null
    let tag: string | null
    if (where === 'server') {
      try {
        tag = await this.api.write(
          name,
          file,
          expected === 'tag' && before !== null ? { tag: before } : expected === 'tag' ? 'anything' : expected,
        )
      } catch (cause) {
        if (isConflict(cause)) return 'conflict'
        throw cause
      }
    } else {
      const present = await this.vault.project(name)
      tag = String(this.now())
      const clash =
        expected === 'nothing'
          ? present !== null
          : expected === 'tag' && present !== null && String(present.at) !== before
      if (clash) return 'conflict'
      await this.vault.keepProject({ name, at: Number(tag), text: JSON.stringify(file) })
    }
    // What was changed while it was being written is not in it.
    const dirty = docStore.getState() !== written
    this.settle(() => {
      if (docStore.getState().name !== name) changeDoc((doc) => ({ ...doc, name }))
      bindingStore.setState({ binding: { name, where, tag, savedAt: this.now(), dirty } })
    })
    return 'saved'
  }

  async read(name: string, where: Binding['where']): Promise<OpenOutcome> {
    const { text, tag, at } = where === 'server' ? await this.fromServer(name) : await this.fromBrowser(name)
    const { readFile } = await import('../doc/files/read')
    const result = readFile(text)
    if (!result.ok) return { problem: result.problem }
    if (result.content.kind !== 'project') return { problem: { code: 'unknown' } }
    const binding: Binding = { name, where, tag, savedAt: at, dirty: false }
    return { doc: { ...result.content.document, name }, binding }
  }

  private async fromServer(name: string) {
    const { text, tag } = await this.api.read(name)
    return { text, tag, at: savedAtIn(text) ?? this.now() }
  }

  private async fromBrowser(name: string) {
    const kept = await this.vault.project(name)
    if (!kept) throw new Error(`There is no project ${name}`)
    return { text: kept.text, tag: String(kept.at), at: kept.at }
  }

  async remove(name: string, where: Binding['where']): Promise<void> {
    if (where === 'server') await this.api.remove(name)
    else await this.vault.removeProject(name)
    if (bindingStore.getState().binding?.name === name) bindingStore.setState({ binding: null })
  }

  /** Gives the project another name, in which it is also saved; a conflict when that is taken. */
  async rename(name: string): Promise<SaveOutcome> {
    const { binding } = bindingStore.getState()
    if (!binding) {
      changeDoc((doc) => ({ ...doc, name }))
      return 'saved'
    }
    if (binding.name === name) return 'saved'
    const outcome = await this.write(name, binding.where, 'nothing')
    if (outcome === 'saved') {
      if (binding.where === 'server') await this.api.remove(binding.name).catch(ignoreMissing)
      else await this.vault.removeProject(binding.name)
    }
    return outcome
  }
}

function ignoreMissing(cause: unknown): void {
  if (!isMissing(cause)) throw cause
}

function savedAtIn(text: string): number | null {
  try {
    const at = Date.parse(String((JSON.parse(text) as { savedAt?: unknown }).savedAt))
    return Number.isFinite(at) ? at : null
  } catch {
    return null
  }
}
