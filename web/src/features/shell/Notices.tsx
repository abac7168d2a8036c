import { useEffect } from 'react'
import { uiStore } from '../../app'
import { useSessionState, useUi } from '../../hooks'
import { t } from '../../messages'
import { Button } from '../../ui/Button'

const SHOW_MS = 4000
const SHOW_WITH_ACTION_MS = 8000

export function Notices() {
  const notice = useUi((ui) => ui.notice)
  useEffect(() => {
    if (!notice) return
    const timer = setTimeout(
      () => uiStore.setState((ui) => (ui.notice?.id === notice.id ? { notice: null } : {})),
      notice.action ? SHOW_WITH_ACTION_MS : SHOW_MS,
    )
    return () => clearTimeout(timer)
  }, [notice])
  if (!notice) return null
  const { action } = notice
  return (
    <div
      role="status"
      className="pointer-events-none fixed inset-x-0 bottom-12 z-50 flex justify-center px-4 max-md:bottom-20"
    >
      <div className="pointer-events-auto flex items-center gap-3 rounded-2 border border-line bg-bg3 px-4 py-2 text-13 shadow-xl shadow-black/50">
        {notice.text}
        {action && (
          <Button
            variant="primary"
            onClick={() => {
              action.run()
              uiStore.setState({ notice: null })
            }}
          >
            {action.label}
          </Button>
        )}
      </div>
    </div>
  )
}

/** What a screen reader hears: the state of the stream and every take. */
export function LiveRegion() {
  const state = useSessionState()
  const announcement = useUi((ui) => ui.announcement)
  return (
    <>
      <p className="sr-only" role="status">
        {t.state[state]}
      </p>
      <p className="sr-only" role="status">
        {announcement}
      </p>
    </>
  )
}
