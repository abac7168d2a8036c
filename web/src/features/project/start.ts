import { report } from '../../app'
import { t } from '../../messages'
import { importAddress, importPasted } from './entry'
import { autosave } from './session'

const TYPING = 'input, textarea, select, [contenteditable="true"]'

/** Brings the document back, and listens to what brings others. */
export async function startProject(): Promise<void> {
  autosave.store.subscribe(({ problem }, before) => {
    if (problem !== null && before.problem === null) report(t.project.notStored)
  })
  await autosave.start()
  if (autosave.store.getState().unreadable) report(t.project.unreadable)
  document.addEventListener('paste', (event) => {
    const target = event.target instanceof Element ? event.target : null
    const text = event.clipboardData?.getData('text/plain') ?? ''
    if (!event.defaultPrevented && importPasted(text, Boolean(target?.closest(TYPING)))) event.preventDefault()
  })
  window.addEventListener('hashchange', importAddress)
  importAddress()
}
