import { History as HistoryIcon } from 'lucide-react'
import { lazy, Suspense, useRef } from 'react'
import { useStore } from 'zustand'
import { useDoc } from '../../hooks'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { historyUi, openHistory } from './historyUi'

const HistoryList = lazy(() => import('./HistoryList'))

/** Earlier prompts: to look through, to put into the box, to drag onto the deck. */
export function History({ compact = false }: { compact?: boolean }) {
  const box = useStore(historyUi, (state) => state.box)
  const any = useDoc((doc) => doc.history.length > 0)
  const button = useRef<HTMLButtonElement>(null)
  return (
    <>
      <Button
        ref={button}
        variant="ghost"
        data-testid="history-button"
        aria-label={t.prompt.history}
        aria-haspopup="dialog"
        aria-expanded={box !== null}
        title={t.prompt.history}
        disabled={!any}
        className="max-md:h-11 max-md:min-w-11"
        onClick={() => (box === null ? openHistory(0) : historyUi.setState({ box: null }))}
      >
        <HistoryIcon size={14} aria-hidden />
        {!compact && t.prompt.history}
      </Button>
      {box !== null && (
        <Suspense fallback={null}>
          <HistoryList box={box} anchor={button} />
        </Suspense>
      )}
    </>
  )
}
