import { announce, notify, report, scope } from '../../app'
import { historyStore } from '../../doc/history'
import { newDoc, type ProjectDoc } from '../../doc/model'
import { type Binding, bindingStore, docStore } from '../../doc/store'
import { cleanName, freeName } from '../../engine/projects'
import { t } from '../../messages'
import { autosave, closeDialog, type NameTask, openDialog, projects } from './session'

/** What the project menu does. Whatever replaces the document keeps it as a version first, and can be taken back. */

export function clockText(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, { timeStyle: 'short' })
}

function failed(cause: unknown): void {
  report(t.project.failed(cause instanceof Error ? cause.message : String(cause)))
}

interface Here {
  doc: ProjectDoc
  binding: Binding | null
}

const here = (): Here => ({ doc: docStore.getState(), binding: bindingStore.getState().binding })

async function show({ doc, binding }: Here): Promise<void> {
  historyStore.setState({ past: [], future: [] })
  let opened: Promise<void> | undefined
  projects.settle(() => {
    opened = scope.openDoc(doc)
    bindingStore.setState({ binding })
  })
  await opened
}

/** Goes on with another document; the notice takes it back. */
async function replace(next: Here, text: string): Promise<void> {
  const before = here()
  closeDialog()
  await autosave.point('replaced')
  await show(next)
  notify(text, { label: t.project.undo, run: () => void show(before) })
  announce(text)
}

/** While something is on air, a project whose pipeline this server lacks goes on with the present one, and says so. */
function runnable(next: Here): Here {
  const { pipelines, phase } = scope.catalog.store.getState()
  const wanted = next.doc.pipelineId
  if (phase !== 'ready' || wanted === null || pipelines[wanted] || !scope.session.active) return next
  report(t.project.import.missingPipeline(wanted))
  return { ...next, doc: { ...next.doc, pipelineId: docStore.getState().pipelineId } }
}

export function newProject(): void {
  const { pipelineId, mode, source } = docStore.getState()
  void replace({ doc: { ...newDoc(), pipelineId, mode, source }, binding: null }, t.project.started)
}

export async function openProject(name: string, where: Binding['where']): Promise<void> {
  try {
    const outcome = await projects.read(name, where)
    if ('problem' in outcome) openDialog({ kind: 'problem', name, problem: outcome.problem })
    else await replace(runnable(outcome), t.project.opened(name))
  } catch (cause) {
    failed(cause)
  }
}

function said(name: string, where: Binding['where']): void {
  const text = t.project.saved(name, where)
  notify(text)
  announce(text)
}

function saved(): void {
  const { binding } = bindingStore.getState()
  if (binding) said(binding.name, binding.where)
}

async function names(): Promise<string[]> {
  return (await projects.list()).projects.map(({ name }) => name)
}

export async function save(): Promise<void> {
  const { binding } = bindingStore.getState()
  if (!binding) {
    await askName('saveAs')
    return
  }
  try {
    if ((await projects.save()) === 'saved') saved()
    else openDialog({ kind: 'conflict', name: binding.name, copy: freeName(binding.name, await names()) })
  } catch (cause) {
    failed(cause)
  }
}

export async function askName(task: NameTask): Promise<void> {
  const { doc, binding } = here()
  const present = binding?.name ?? cleanName(doc.name)
  let suggestion = present
  if (task !== 'rename' && present !== '') {
    const taken = await names().catch((): string[] => [])
    if (task === 'duplicate' || taken.includes(present)) suggestion = freeName(present, taken)
  }
  openDialog({ kind: 'name', task, suggestion })
}

/** False when the name is taken. */
export async function finishName(task: NameTask, name: string, replaceOther: boolean): Promise<boolean> {
  try {
    const outcome =
      task === 'rename' && !replaceOther ? await projects.rename(name) : await projects.saveAs(name, replaceOther)
    if (outcome === 'conflict') return false
    closeDialog()
    if (task === 'rename') notify(t.project.renamed(name))
    else saved()
  } catch (cause) {
    closeDialog()
    failed(cause)
  }
  return true
}

export function askRemove(): void {
  const { binding } = bindingStore.getState()
  if (binding) openDialog({ kind: 'remove', name: binding.name, where: binding.where })
}

export async function removeProject(name: string, where: Binding['where']): Promise<void> {
  try {
    await projects.remove(name, where)
    notify(t.project.removed(name))
  } catch (cause) {
    failed(cause)
  }
  closeDialog()
}

export async function resolveConflict(choice: 'overwrite' | 'both' | 'reload', copy: string): Promise<void> {
  const { binding } = bindingStore.getState()
  if (!binding) return
  try {
    if (choice === 'reload') {
      await openProject(binding.name, binding.where)
      return
    }
    const outcome = choice === 'both' ? await projects.saveAs(copy) : await projects.save(true)
    if (outcome === 'saved') {
      closeDialog()
      saved()
    }
  } catch (cause) {
    failed(cause)
  }
}

export async function goBackTo(id: string, at: number): Promise<void> {
  const earlier = await autosave.read(id)
  if (earlier) await replace({ doc: earlier.doc, binding: earlier.binding }, t.project.versions.restored(clockText(at)))
}

// -- after a crash, and with several tabs

export async function discardRecovered(): Promise<void> {
  const { recovered } = autosave.store.getState()
  const earlier = recovered?.start ? await autosave.read(recovered.start) : null
  autosave.keepRecovered()
  const { pipelineId, mode } = docStore.getState()
  await replace(earlier ?? { doc: { ...newDoc(), pipelineId, mode }, binding: null }, t.project.discarded)
}

export async function takeOver(): Promise<void> {
  const whose = await autosave.takeOver()
  const text = whose === 'mine' ? t.project.tookOverMine : t.project.tookOver
  notify(text)
  announce(text)
}
