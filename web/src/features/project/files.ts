import { projectsApi } from '../../api/projects'
import type { Pipeline } from '../../api/types'
import { announce, notify, report, scope } from '../../app'
import { FileError, type FileProblem } from '../../doc/files/json'
import { MAX_LINK_CHARS, packLink, unpackLink } from '../../doc/files/link'
import { writeProject } from '../../doc/files/project'
import { type DocumentContent, type ReadResult, readBlob, readFile } from '../../doc/files/read'
import type { WriteContext } from '../../doc/files/score'
import { writeTimeline } from '../../doc/files/timeline'
import { writeWorkflow } from '../../doc/files/workflow'
import { editDoc, historyStore, undo } from '../../doc/history'
import type { ProjectDoc } from '../../doc/model'
import { changeDoc, docStore } from '../../doc/store'
import { endOf } from '../../doc/timeline'
import { saveAs } from '../../engine/capture'
import { paramsOf } from '../../engine/chain'
import { cleanName } from '../../engine/projects'
import { t } from '../../messages'
import { schemaKey } from '../../schema/plan'
import { openAgain } from '../again/state'
import { type Prepared, prepare } from './prepare'
import { autosave, closeDialog, openDialog } from './session'

/** Files in and out of the page: what the menu, keys, drops, pastes and links come to. */

export type ExportFormat = 'timeline' | 'workflow' | 'project'

const ENDING: Record<ExportFormat, string> = {
  timeline: 'timeline.json',
  workflow: 'scope-workflow.json',
  project: 'scope-project.json',
}

// -- in

function refuse(name: string, problem: FileProblem): void {
  openDialog({ kind: 'problem', name, problem })
  announce(t.project.import.failedTitle(name))
}

const CATALOGUE_WAIT_MS = 5000

/** What is missing is known only once the server has said what it has: a link may be opened with the page. */
function catalogue(): Promise<Readonly<Record<string, Pipeline>>> {
  const { store } = scope.catalog
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      stop()
      resolve(store.getState().pipelines)
    }
    const timer = setTimeout(end, CATALOGUE_WAIT_MS)
    const stop = store.subscribe(({ phase }) => phase === 'ready' && end())
    if (store.getState().phase === 'ready') end()
  })
}

async function offer(name: string, content: DocumentContent): Promise<void> {
  const pipelines = await catalogue()
  const named = content.kind === 'project' ? content.document.params : content.score.params
  const asks = Object.values(named).some(({ loras }) => Array.isArray(loras) && loras.length > 0)
  const there = asks ? await projectsApi.loras() : null
  openDialog({ kind: 'import', prepared: prepare(name, content, pipelines, there) })
}

async function take(name: string, result: ReadResult): Promise<void> {
  if (!result.ok) refuse(name, result.problem)
  else if (result.content.kind === 'exact') {
    scope.shows.addFile(name, result.content.score, result.content.text)
    openAgain()
  } else await offer(name, result.content)
}

export async function importFile(file: File): Promise<void> {
  await take(file.name, await readBlob(file))
}

export async function importText(name: string, text: string): Promise<void> {
  await take(name, readFile(text))
}

export async function importLink(packed: string): Promise<void> {
  try {
    await importText(t.project.import.link, await unpackLink(packed))
  } catch (cause) {
    refuse(t.project.import.link, cause instanceof FileError ? cause.problem : { code: 'link' })
  }
}

type Box = Pick<ProjectDoc, 'draft' | 'transition' | 'source'>

/** The box and the input are no part of the steps of undo, but what an import put into it comes and goes with the import. */
function boxFollows(step: unknown, before: Box, after: Box): void {
  let done = true
  const put = (from: Box, to: Box) => {
    if (from.source !== to.source && docStore.getState().source === from.source) void scope.chooseSource(to.source)
    if (docStore.getState().draft !== from.draft) return
    changeDoc((doc) => ({ ...doc, draft: to.draft, transition: to.transition }))
  }
  const end = historyStore.subscribe(({ past, future }) => {
    const undone = future.some((other) => other === step)
    if (!undone && !past.some((other) => other === step)) end()
    else if (undone === done) {
      done = !undone
      // After the step itself, which undo announces first.
      queueMicrotask(() => (undone ? put(after, before) : put(before, after)))
    }
  })
}

export function applyImport(prepared: Prepared, settings: boolean): void {
  closeDialog()
  void autosave.point('replaced')
  const before = docStore.getState()
  const imported = prepared.apply(settings)(before)
  const { transport } = scope
  const performing = transport.current === 'rolling' || transport.current === 'paused'
  const replaced = imported.blocks.length > 0
  // What is on air stays on air, and goes on at the end of what was imported: never a fraction before it.
  const kept = performing && replaced ? { draft: before.draft, transition: before.transition } : {}
  const shiftMs = performing && replaced ? endOf(imported.blocks, 0) - Math.floor(transport.time()) : 0
  editDoc(t.project.import.step, () => ({ ...imported, ...kept }), { shiftMs })
  if (imported.source !== before.source) void scope.chooseSource(imported.source)
  // Start plays it from its beginning.
  if (!performing && replaced) transport.seek(0)
  boxFollows(historyStore.getState().past.at(-1), before, docStore.getState())
  const text = t.project.import.done(imported.blocks.length)
  notify(text, { label: t.project.undo, run: () => void undo() })
  announce(text)
}

// -- out

function writeContext(): WriteContext {
  const { pipelines, version } = scope.catalog.store.getState()
  const doc = docStore.getState()
  const effective = Object.fromEntries(
    scope.chain().map((node) => {
      const { load, live } = paramsOf(doc, node)
      const { vace_enabled: _, ...kept } = load
      const named = Object.entries(live).map(([wire, value]) => [schemaKey(wire), value] as const)
      return [node.id, { ...kept, ...Object.fromEntries(named) }]
    }),
  )
  const plugins = Object.values(pipelines).flatMap(({ id, plugin_name: plugin }) => (plugin ? [[id, plugin]] : []))
  return {
    now: new Date().toISOString(),
    version,
    nowMs: scope.transport.time(),
    effective,
    plugins: Object.fromEntries(plugins) as Record<string, string>,
  }
}

function written(format: ExportFormat): unknown {
  const doc = docStore.getState()
  const context = writeContext()
  if (format === 'project') return writeProject(doc, context.now, context.nowMs)
  return format === 'workflow' ? writeWorkflow(doc, context) : writeTimeline(doc, context)
}

export function fileNameFor(format: ExportFormat): string {
  const { name } = docStore.getState()
  const day = new Date().toISOString().slice(0, 10)
  const stem = cleanName(name).toLowerCase().replaceAll(' ', '-') || `scope-${day}`
  return `${stem}.${ENDING[format]}`
}

export function exportFile(format: ExportFormat): void {
  const name = fileNameFor(format)
  const blob = new Blob([`${JSON.stringify(written(format), null, 2)}\n`], { type: 'application/json' })
  const url = URL.createObjectURL(blob)
  saveAs(url, name)
  setTimeout(() => URL.revokeObjectURL(url), 30_000)
  closeDialog()
  notify(t.project.export.done(name))
}

/** A link that holds the takes; where the clipboard is out of reach, it is shown to be copied by hand. */
export async function shareLink(): Promise<void> {
  const { exportedAt: _, ...file } = written('timeline') as Record<string, unknown>
  const part = await packLink(JSON.stringify(file))
  if (part.length > MAX_LINK_CHARS) {
    report(t.project.link.tooLong((part.length / 1024).toFixed(1)))
    return
  }
  const address = `${location.origin}/#${part}`
  try {
    await navigator.clipboard.writeText(address)
    notify(t.project.link.copied)
  } catch {
    openDialog({ kind: 'link', address })
  }
}
