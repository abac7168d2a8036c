import { createRoot } from 'react-dom/client'
import { App } from './App'
import { notify, report, scope } from './app'
import { startAutosave } from './doc/store'
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
  scope.recorder.store.subscribe((next, before) => {
    if (next.failed && next.failed !== before.failed) report(t.notices.recordFailed(next.failed))
    if (next.result && next.result !== before.result) notify(t.header.recordingSaved(next.result.name))
  })
  void scope.boot()
  createRoot(root).render(<App />)
}
