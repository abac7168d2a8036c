import { History, Lock } from 'lucide-react'
import type { ReactNode } from 'react'
import { useStore } from 'zustand'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { clockText, discardRecovered, takeOver } from './actions'
import { autosave } from './session'

function Bar({ testId, icon, text, children }: { testId: string; icon: ReactNode; text: string; children: ReactNode }) {
  return (
    <div
      role="status"
      data-testid={testId}
      className="flex shrink-0 flex-wrap items-center gap-x-3 gap-y-1.5 border-b border-warn/60 bg-warn/10 px-3 py-1.5 text-12 text-fg1"
    >
      <span className="flex min-w-0 flex-1 basis-60 items-center gap-2">
        {icon}
        {text}
      </span>
      <span className="ml-auto flex gap-2">{children}</span>
    </div>
  )
}

/** What has to be said about the document itself: that it survived a crash, or that another tab has it. */
export function ProjectBanner() {
  const recovered = useStore(autosave.store, ({ recovered }) => recovered)
  const role = useStore(autosave.store, ({ role }) => role)
  if (role === 'reader') {
    return (
      <Bar
        testId="reader-banner"
        icon={<Lock size={14} className="shrink-0 text-warn" aria-hidden />}
        text={t.project.reader}
      >
        <Button variant="primary" className="max-md:h-11" data-testid="take-over" onClick={() => void takeOver()}>
          {t.project.takeOver}
        </Button>
      </Bar>
    )
  }
  if (!recovered) return null
  return (
    <Bar
      testId="recovery-banner"
      icon={<History size={14} className="shrink-0 text-warn" aria-hidden />}
      text={t.project.recovered(clockText(recovered.at))}
    >
      <Button
        variant="outline"
        className="max-md:h-11"
        data-testid="discard-recovered"
        onClick={() => void discardRecovered()}
      >
        {t.project.discard}
      </Button>
      <Button
        variant="primary"
        className="max-md:h-11"
        data-testid="keep-recovered"
        onClick={() => autosave.keepRecovered()}
      >
        {t.project.keep}
      </Button>
    </Bar>
  )
}
