import { CircleAlert, CircleCheck, TriangleAlert } from 'lucide-react'
import { Popover } from 'radix-ui'
import { useStore } from 'zustand'
import { scope, uiStore } from '../../app'
import type { Cause, Level } from '../../engine/health'
import { t } from '../../messages'
import { Button, Hint } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { openSettings } from '../settings/commands'
import { type Action, smaller } from './remedies'

const ICONS = { ok: CircleCheck, warn: TriangleAlert, bad: CircleAlert }
const TONES: Record<Level, string> = { ok: 'text-ok', warn: 'text-warn', bad: 'text-live' }

/** The one thing that is most likely to help. */
function remedy(cause: Cause): Action | null {
  switch (cause) {
    case 'frozen':
      return { label: t.errors.logs, run: () => uiStore.setState({ logs: true }) }
    case 'loss':
    case 'distance':
      return { label: t.errors.network, run: () => openSettings('video') }
    case 'memory':
    case 'effort':
    case 'compute':
      // A new size waits in the panel until the picture may be interrupted.
      return smaller(() => uiStore.setState({ tab: 'tune', drawer: 'inspector' }))
    case 'display':
    case 'input':
      return null
  }
}

export function HealthWord() {
  const { level } = useStore(scope.health.store)
  const Icon = ICONS[level]
  return (
    <span data-testid="health" data-level={level} className={cx('flex items-center gap-1 font-medium', TONES[level])}>
      <Icon size={13} aria-hidden />
      {t.health.words[level]}
    </span>
  )
}

/** The state of the stream in a word; what holds it back stands in its tooltip, and one thing to do behind it. */
export function HealthButton() {
  const { cause } = useStore(scope.health.store)
  const { title, body } = cause ? t.health.causes[cause] : t.health.fine
  const action = cause && remedy(cause)
  return (
    <Popover.Root>
      <Hint text={`${title}. ${body}`}>
        <Popover.Trigger className="flex h-6 items-center rounded-1 px-1 hover:bg-bg3" data-testid="health-button">
          <HealthWord />
        </Popover.Trigger>
      </Hint>
      <Popover.Portal>
        <Popover.Content
          side="top"
          align="start"
          sideOffset={6}
          collisionPadding={8}
          aria-label={t.status.health}
          className="z-50 w-72 rounded-2 border border-edge bg-bg2 p-3 shadow-xl shadow-black/50 outline-none"
        >
          <p className="text-13 font-semibold">{title}</p>
          <p className="mt-1 text-12 text-fg2">{body}</p>
          {action && (
            <Popover.Close asChild>
              <Button variant="primary" className="mt-2.5" onClick={action.run}>
                {action.label}
              </Button>
            </Popover.Close>
          )}
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  )
}
