import { announce, notify, report, scope } from '../../app'
import type { SessionError } from '../../engine/errors'
import type { RenderOutcome } from '../../engine/rerender'
import { t } from '../../messages'
import { openLibrary } from '../library/state'
import { againStore, closeAgain } from './state'

export function showRecordings(): void {
  closeAgain()
  openLibrary('recordings')
}

export function problemText({ code, message }: SessionError): string {
  const { problems } = t.again
  const known = Object.hasOwn(problems, code) ? problems[code as keyof typeof problems] : null
  return typeof known === 'string' ? known : problems.other(message)
}

function ended(outcome: RenderOutcome): void {
  const { open } = againStore.getState()
  if (outcome.kind === 'done') {
    scope.library.assets.add(outcome.film)
    const text = t.again.done(outcome.film.name)
    announce(text)
    if (!open) notify(text, { label: t.again.showIt, run: showRecordings })
  } else if (outcome.kind === 'failed') {
    const text = `${t.again.failed}. ${problemText(outcome.error)}`
    // In the dialog it stands where it happened.
    if (open) announce(text)
    else report(text)
  } else announce(t.again.cancelled)
}

/** Says what has come of a rendering, wherever one is in the page. */
export function watchRenders(): void {
  scope.rerender.onOutcome = ended
}
