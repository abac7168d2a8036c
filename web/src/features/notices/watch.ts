import { scope } from '../../app'
import { t } from '../../messages'
import { addProblem } from '../../problems'

const m = t.problems

/** Brings into the list of problems what failed anywhere, so that it is still there after its card has gone. */
export function watchProblems(): void {
  scope.session.store.subscribe(({ error }, before) => {
    // Missing files are a step of the way, with a card of their own.
    if (!error || error === before.error || error.code === 'models_missing') return
    addProblem('error', t.errors.catalogue[error.code]?.title ?? t.state.failed, error.message)
  })
  scope.models.store.subscribe(({ models }, before) => {
    for (const [id, { progress, name }] of Object.entries(models)) {
      const problem = progress?.error
      if (problem && problem !== before.models[id]?.progress?.error) addProblem('error', m.download(name), problem)
    }
  })
  scope.source.store.subscribe(({ error, uploadError }, before) => {
    if (error && error !== before.error)
      addProblem('warning', t.source.errors[error].title, t.source.errors[error].body)
    if (uploadError && uploadError !== before.uploadError) {
      addProblem('warning', t.source.errors[uploadError].title, t.source.errors[uploadError].body)
    }
  })
  window.addEventListener('error', ({ message }) => addProblem('warning', m.page, message))
  window.addEventListener('unhandledrejection', ({ reason }) => {
    addProblem('warning', m.page, reason instanceof Error ? reason.message : String(reason))
  })
}
