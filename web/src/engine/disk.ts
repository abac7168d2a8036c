import type { StoreApi } from 'zustand/vanilla'
import type { Models } from './models'
import type { RecorderState } from './recorder'

/** Less room than this, and a recording may soon have none. */
export const LOW_BYTES = 2e9
const LOOK_MS = 20_000

/** Looks at the server's disk when a recording begins and while it goes on; says once when there is little room. */
export function watchDisk(
  recorder: StoreApi<RecorderState>,
  models: Pick<Models, 'refresh' | 'store'>,
  low: (bytes: number) => void,
): void {
  let timer: ReturnType<typeof setInterval> | null = null
  let said = false
  const look = async () => {
    await models.refresh()
    const { room } = models.store.getState()
    if (said || timer === null || room === null || room >= LOW_BYTES) return
    said = true
    low(room)
  }
  recorder.subscribe(({ phase }) => {
    const on = phase === 'on' || phase === 'starting'
    if (on && timer === null) {
      said = false
      timer = setInterval(() => void look(), LOOK_MS)
      void look()
    } else if (!on && timer !== null) {
      clearInterval(timer)
      timer = null
    }
  })
}
