import { createStore } from 'zustand/vanilla'
import type { Meters } from './meters'

/** One word for the state of the stream, what holds it back, and what helps. */

export type Level = 'ok' | 'warn' | 'bad'
export type Cause = 'frozen' | 'loss' | 'distance' | 'memory' | 'effort' | 'compute' | 'display' | 'input'

export interface Health {
  level: Level
  /** What is to blame; null while nothing is. */
  cause: Cause | null
}

export const WELL: Health = { level: 'ok', cause: null }

type Readings = Pick<Meters, 'fps' | 'net' | 'server'>

const rate = (value: number | null | undefined, bad: number, warn: number): Level =>
  (value ?? 0) > bad ? 'bad' : (value ?? 0) > warn ? 'warn' : 'ok'
const WORSE: Record<Level, number> = { ok: 0, warn: 1, bad: 2 }

/** The worst of what is wrong; of what is equally bad, what comes first on the way from the model to the eye. */
export function judge({ fps, net, server }: Readings): Health {
  const made = server?.fps_generated ?? null
  const sent = server?.fps_out ?? null
  const memory =
    server?.vram_used_mb && server.vram_total_mb ? (server.vram_used_mb / server.vram_total_mb) * 100 : null
  const verdicts: [Cause, Level][] = [
    ['memory', rate(memory, 98, 94)],
    ['compute', made === null || made === 0 ? 'ok' : made < 2 ? 'bad' : made < 5 ? 'warn' : 'ok'],
    ['effort', (server?.effort?.level ?? 0) > 0 ? 'warn' : 'ok'],
    ['loss', rate(net.lossPercent, 5, 1)],
    ['distance', rate(net.rttMs, 400, 150)],
    ['input', net.sentFps !== null && net.sentFps > 0 && net.sentFps < 5 ? 'warn' : 'ok'],
    ['display', sent !== null && sent >= 5 && fps > 0 && fps < sent * 0.6 ? 'warn' : 'ok'],
    ['frozen', fps === 0 ? 'bad' : 'ok'],
  ]
  let worst = WELL
  for (const [cause, level] of verdicts) if (WORSE[level] > WORSE[worst.level]) worst = { level, cause }
  return worst
}

/** How long something must last before it is said: a hiccup is none, and a word that flickers says nothing. */
const LASTING_MS = 1800

/** Follows the meters and says what lasts. Only a frozen picture is said at once. */
export class HealthWatch {
  readonly store = createStore<Health>(() => WELL)
  private seen: Health = WELL
  private since = 0

  note(readings: Readings, now: number): void {
    const next = judge(readings)
    if (next.level !== this.seen.level || next.cause !== this.seen.cause) {
      this.seen = next
      this.since = now
    }
    const { level, cause } = this.store.getState()
    if (level === next.level && cause === next.cause) return
    if (next.cause === 'frozen' || now - this.since >= LASTING_MS) this.store.setState(next)
  }

  reset(): void {
    this.seen = WELL
    if (this.store.getState() !== WELL) this.store.setState(WELL)
  }
}
