import { useCallback } from 'react'
import { useStore } from 'zustand'
import { scope } from '../../app'
import { beatMs } from '../../doc/tempo'
import { t } from '../../messages'
import { onPulse } from './pulse'

const { music } = scope

/** The beats that are left before the clock of the takes starts, over the picture. */
export function CountIn() {
  const dueAt = useStore(music.countIn.store, (state) => state.dueAt)
  const attach = useCallback(
    (node: HTMLSpanElement | null) => {
      if (!node || dueAt === null) return
      return onPulse(() => {
        const left = Math.ceil((dueAt - performance.now()) / beatMs(music.tempo.bpm()) - 0.02)
        const text = String(Math.max(1, left))
        if (node.textContent !== text) node.textContent = text
      })
    },
    [dueAt],
  )
  if (dueAt === null) return null
  return (
    <div
      role="status"
      data-testid="count-in"
      className="pointer-events-none absolute inset-0 grid place-content-center justify-items-center"
    >
      <span className="rounded-2 bg-bg0/85 px-6 py-3 text-center">
        <span
          ref={attach}
          aria-hidden
          data-testid="count-in-number"
          className="num block text-28 leading-none! font-semibold text-fg1 [font-size:clamp(40px,8vw,96px)]!"
        />
        <span className="text-12 text-fg2">{t.tempo.countingIn}</span>
      </span>
    </div>
  )
}
