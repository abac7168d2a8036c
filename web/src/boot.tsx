import { createRoot } from 'react-dom/client'
import { App } from './App'
import { announce, notify, report, scope, uiStore } from './app'
import { editDoc } from './doc/history'
import { watchDisk } from './engine/disk'
import { keepAwake } from './engine/wakeLock'
import { againDialog } from './features/again/LazyAgain'
import { watchRenders } from './features/again/watch'
import { preloadGraph } from './features/graph/Graph'
import { watchInstall } from './features/install/install'
import { startLaunch } from './features/install/launch'
import { openLibrary } from './features/library/state'
import { watchProblems } from './features/notices/watch'
import { projectDialogs } from './features/project/LazyDialogs'
import { startProject } from './features/project/start'
import { preloadPanels } from './features/shell/panels'
import { rememberLoadTimes } from './features/stage/loadTimes'
import { startClipboard } from './features/timeline/clipboard'
import { t } from './messages'
import { park } from './ui/EngineMedia'
import { bytes } from './ui/format'

function lessMotion(less: boolean): void {
  document.documentElement.dataset.motion = less ? 'less' : 'system'
}

/** Starts the Perform page. */
export async function bootPerform(root: HTMLElement): Promise<void> {
  watchInstall()
  await startProject()
  park(scope.source.video)
  park(scope.frames.video)
  rememberLoadTimes()
  lessMotion(uiStore.getState().lessMotion)
  uiStore.subscribe((ui) => lessMotion(ui.lessMotion))
  // Whatever is loaded late is there when the server is not.
  const atRest = 'requestIdleCallback' in window ? requestIdleCallback : setTimeout
  atRest(() => {
    void import('./features/control/controller').then(({ startControl }) => startControl())
    preloadPanels()
    projectDialogs.preload()
    againDialog.preload()
    preloadGraph()
  })
  keepAwake(scope.session)
  startClipboard()
  watchProblems()
  watchRenders()
  scope.onNotice = (text) => report(t.notices.refused(text))
  scope.onRemark = notify
  scope.onLostClip = (name) => report(t.source.lost(name))
  scope.onUnrecorded = () => notify(t.timeline.unrecorded)
  scope.music.onLost = () => notify(t.tempo.lost)
  scope.onFiles = (pipeline) => {
    const mine = pipeline.usage.length === 0
    const choose = () => editDoc(t.project.edits.pipeline, (doc) => ({ ...doc, pipelineId: pipeline.id }))
    notify(t.models.ready(pipeline.name), mine ? { label: t.models.choose, run: choose } : undefined)
    announce(t.models.ready(pipeline.name))
  }
  scope.recorder.store.subscribe((next, before) => {
    if (next.failed && next.failed !== before.failed) report(t.notices.recordFailed(next.failed))
    if (next.result && next.result !== before.result) notify(t.header.recordingSaved(next.result.name))
  })
  scope.onRescued = (asset) =>
    notify(t.recordings.rescued(asset.name), { label: t.recordings.show, run: () => openLibrary('recordings') })
  watchDisk(scope.recorder.store, scope.models, (room) => report(t.recordings.lowWhile(bytes(room))))
  void scope.boot()
  createRoot(root).render(<App />)
  startLaunch()
}
