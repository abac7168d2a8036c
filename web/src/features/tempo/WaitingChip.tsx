import { X } from 'lucide-react'
import { useCallback } from 'react'
import { useStore } from 'zustand'
import { scope } from '../../app'
import { t } from '../../messages'
import { cancelTake } from './commands'

const m = t.tempo

/** The take that waits for its beat, and how long it still does. Shown instead of what is on air. */
export function WaitingChip({ compact = false }: { compact?: boolean }) {
  const waiting = useStore(scope.music.quantiser.store, (state) => state.waiting)
  const dueAt = waiting?.dueAt ?? null
  const attach = useCallback(
    (node: HTMLSpanElement | null) => {
      if (!node || dueAt === null) return
      const paint = () => {
        const seconds = Math.max(0, dueAt - performance.now()) / 1000
        node.textContent = `${seconds.toFixed(1)} s`
      }
      paint()
      const timer = setInterval(paint, 100)
      return () => clearInterval(timer)
    },
    [dueAt],
  )
  if (!waiting) return null
  return (
    <span
      data-testid="waiting-take"
      data-grid={waiting.grid}
      className="flex items-center gap-1.5 rounded-full border border-accent/70 pl-2 text-11 font-medium whitespace-nowrap text-accent"
    >
      {compact ? m.grids[waiting.grid] : m.waits(m.gridNames[waiting.grid])}
      <span ref={attach} aria-hidden data-testid="waiting-time" className="num min-w-8 text-right" />
      <button
        type="button"
        aria-label={m.cancel}
        title={m.cancel}
        data-testid="cancel-take"
        onClick={cancelTake}
        className="grid h-6 w-6 place-items-center rounded-full hover:bg-bg3 pointer-coarse:h-11 pointer-coarse:w-11"
      >
        <X size={12} aria-hidden />
      </button>
    </span>
  )
}
