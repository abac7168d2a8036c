import { createRoot } from 'react-dom/client'
import { App } from './App'
import { announce, notify, report, scope } from './app'
import { changeDoc, startAutosave } from './doc/store'
import { keepAwake } from './engine/wakeLock'
import { rememberLoadTimes } from './features/stage/loadTimes'
import { t } from './messages'
import { park } from './ui/EngineMedia'

/** Starts the Perform page. */
export function bootPerform(root: HTMLElement): void {
  startAutosave()
  park(scope.source.video)
  park(scope.frames.video)
  rememberLoadTimes()
  keepAwake(scope.session)
  scope.onNotice = (text) => report(t.notices.refused(text))
  scope.onRemark = notify
  scope.onFiles = (pipeline) => {
    const mine = pipeline.usage.length === 0
    const choose = () => changeDoc((doc) => ({ ...doc, pipelineId: pipeline.id }))
    notify(t.models.ready(pipeline.name), mine ? { label: t.models.choose, run: choose } : undefined)
    announce(t.models.ready(pipeline.name))
  }
  scope.recorder.store.subscribe((next, before) => {
    if (next.failed && next.failed !== before.failed) report(t.notices.recordFailed(next.failed))
    if (next.result && next.result !== before.result) notify(t.header.recordingSaved(next.result.name))
  })
  void scope.boot()
  createRoot(root).render(<App />)
}
