import { scope } from '../../app'
import { remember } from '../../engine/memory'

/** How long each pipeline took to load, so that the next wait has a number. */

const KEY = 'scope.loadTimes'

function read(): Record<string, number> {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? '{}') as Record<string, number>
  } catch {
    return {}
  }
}

export function expectedLoadMs(pipelineId: string): number | null {
  const ms = read()[pipelineId]
  return typeof ms === 'number' && ms > 0 ? ms : null
}

export function rememberLoadTimes(): void {
  scope.session.store.subscribe((next, previous) => {
    if (previous.state !== 'loading' || next.state !== 'connecting' || previous.loadingSince === null) return
    const id = scope.pipeline()?.id
    if (!id) return
    remember(KEY, JSON.stringify({ ...read(), [id]: Math.round(performance.now() - previous.loadingSince) }))
  })
}
