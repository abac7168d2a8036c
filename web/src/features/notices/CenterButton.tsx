import { CircleAlert, TriangleAlert } from 'lucide-react'
import { useStore } from 'zustand'
import { uiStore } from '../../app'
import { t } from '../../messages'
import { problemStore } from '../../problems'
import { cx } from '../../ui/cx'

const m = t.problems

/** The way to the list: how many problems, and how bad the worst is. Nothing while there are none. */
export function CenterButton({ compact = false }: { compact?: boolean }) {
  const list = useStore(problemStore, (state) => state.list)
  if (list.length === 0) return null
  const errors = list.filter(({ severity }) => severity === 'error').length
  const warnings = list.length - errors
  const Icon = errors > 0 ? CircleAlert : TriangleAlert
  const fresh = list.some(({ seen }) => !seen)
  return (
    <button
      type="button"
      data-testid="problems-button"
      onClick={() => uiStore.setState(({ center }) => ({ center: !center }))}
      className={cx(
        'flex items-center gap-1.5 rounded-1 font-medium hover:bg-bg3',
        compact ? 'h-11 min-w-11 justify-center bg-bg3 px-3 text-12' : 'h-6 px-1.5',
        errors > 0 ? 'text-live' : 'text-warn',
        fresh && 'underline underline-offset-2',
      )}
    >
      <Icon size={compact ? 16 : 13} aria-hidden />
      {[errors > 0 ? m.errors(errors) : '', warnings > 0 ? m.warnings(warnings) : ''].filter(Boolean).join(', ')}
    </button>
  )
}
