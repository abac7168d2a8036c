import { createStore } from 'zustand/vanilla'
import { projectsApi } from '../../api/projects'
import { scope } from '../../app'
import { Autosave } from '../../doc/autosave'
import type { FileProblem } from '../../doc/files/json'
import { Vault } from '../../doc/vault'
import { Projects } from '../../engine/projects'
import type { Prepared } from './prepare'

function localStore(): Storage | null {
  try {
    return localStorage
  } catch {
    return null
  }
}

/** What keeps the one document of the page. */
export const autosave = new Autosave(new Vault(), localStore())
export const projects = new Projects(
  projectsApi,
  autosave.vault,
  () => Date.now(),
  () => scope.transport.time(),
)

export type NameTask = 'saveAs' | 'rename' | 'duplicate'

export type ProjectDialog =
  | { kind: 'open' }
  | { kind: 'name'; task: NameTask; suggestion: string }
  | { kind: 'remove'; name: string; where: 'server' | 'browser' }
  | { kind: 'conflict'; name: string; copy: string }
  | { kind: 'versions' }
  | { kind: 'import'; prepared: Prepared }
  | { kind: 'problem'; name: string; problem: FileProblem }
  | { kind: 'export' }
  | { kind: 'link'; address: string }

export const dialogStore = createStore<{ dialog: ProjectDialog | null }>(() => ({ dialog: null }))

export function openDialog(dialog: ProjectDialog): void {
  dialogStore.setState({ dialog })
}

export function closeDialog(): void {
  dialogStore.setState({ dialog: null })
}
