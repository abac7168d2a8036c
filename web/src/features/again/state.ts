import { createStore } from 'zustand/vanilla'
import { announce, notify, scope } from '../../app'
import { saveAs } from '../../engine/capture'
import type { Show } from '../../engine/shows'
import { t } from '../../messages'

export const againStore = createStore<{ open: boolean }>(() => ({ open: false }))

/** Asks what has been performed until now. */
async function noteAir(): Promise<Show | null> {
  const { sessionId } = scope.session.store.getState()
  if (!scope.onScreen || !sessionId) return null
  return scope.shows.note(sessionId, 'air').catch(() => null)
}

export function openAgain(): void {
  againStore.setState({ open: true })
  void noteAir()
  void scope.rerender.refresh()
  void scope.library.assets.refresh()
}

export function closeAgain(): void {
  againStore.setState({ open: false })
}

/** A show as it is now: what is on air has gone on since it was listed. */
export async function upToDate(show: Show): Promise<Show> {
  return show.origin === 'air' ? ((await noteAir()) ?? show) : show
}

function fileNameOf({ name, at, score }: Show): string {
  if (name !== '') return name
  const stamp = new Date(at).toISOString().slice(0, 19).replaceAll(':', '-').replace('T', '-')
  return `scope-${score.pipeline_id ?? 'show'}-${stamp}.scope-score.json`
}

export async function saveScore(show: Show): Promise<void> {
  const now = await upToDate(show)
  const name = fileNameOf(now)
  const url = URL.createObjectURL(new Blob([now.text], { type: 'application/json' }))
  saveAs(url, name)
  setTimeout(() => URL.revokeObjectURL(url), 30_000)
  notify(t.again.saved(name))
}

export async function saveLatest(): Promise<void> {
  const show = (await noteAir()) ?? scope.shows.store.getState().items[0]
  if (show) await saveScore(show)
  else announce(t.again.none)
}
