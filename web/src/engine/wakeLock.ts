import type { Session } from './session'

/** Keeps the screen on while a picture is live. */
export function keepAwake(session: Session): void {
  let lock: WakeLockSentinel | null = null
  const update = async () => {
    const wanted = session.state === 'live' && !document.hidden
    if (wanted && !lock) {
      lock = (await navigator.wakeLock?.request('screen').catch(() => null)) ?? null
      lock?.addEventListener('release', () => {
        lock = null
      })
    } else if (!wanted && lock) {
      await lock.release().catch(() => undefined)
    }
  }
  session.store.subscribe((next, before) => {
    if (next.state !== before.state) void update()
  })
  document.addEventListener('visibilitychange', () => void update())
}
