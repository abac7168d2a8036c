import { CircleAlert, CircleCheck, TriangleAlert, X } from 'lucide-react'
import { useEffect } from 'react'
import { useStore } from 'zustand'
import { uiStore } from '../../app'
import { useUi } from '../../hooks'
import { t } from '../../messages'
import { dismissAllProblems, dismissProblem, type Problem, problemStore, seeProblems } from '../../problems'
import { Button, IconButton } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { Sheet } from '../../ui/Sheet'
import { openSettings } from '../settings/commands'

const m = t.problems
const time = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' })

function Entry({ problem }: { problem: Problem }) {
  const { id, severity, title, detail, at, count } = problem
  const Icon = severity === 'error' ? CircleAlert : TriangleAlert
  return (
    <li
      data-testid="problem-entry"
      data-severity={severity}
      className={cx('rounded-2 border bg-bg2 p-3 pr-2', severity === 'error' ? 'border-live/60' : 'border-warn/60')}
    >
      <div className="flex items-start gap-2">
        <Icon
          size={16}
          className={cx('mt-0.5 shrink-0', severity === 'error' ? 'text-live' : 'text-warn')}
          aria-hidden
        />
        <div className="min-w-0 flex-1">
          <p className="text-13 font-semibold [overflow-wrap:anywhere]">{title}</p>
          <p className="num text-11 text-fg3">
            {m[severity]} · {time.format(at)}
            {count > 1 && ` · ${m.times(count)}`}
          </p>
        </div>
        <IconButton label={m.dismiss(title)} className="max-md:h-11 max-md:w-11" onClick={() => dismissProblem(id)}>
          <X size={14} aria-hidden />
        </IconButton>
      </div>
      {detail && <p className="mt-1 ml-6 text-12 text-fg2 [overflow-wrap:anywhere]">{detail}</p>}
    </li>
  )
}

function List() {
  const list = useStore(problemStore, (state) => state.list)
  // Whatever comes while the list is open has been seen.
  // biome-ignore lint/correctness/useExhaustiveDependencies: each new list
  useEffect(seeProblems, [list])
  if (list.length === 0) {
    return (
      <p className="flex items-center gap-2 p-4 text-13 text-fg2">
        <CircleCheck size={16} className="text-ok" aria-hidden />
        {m.none}
      </p>
    )
  }
  return (
    <div className="flex flex-col gap-3 p-3">
      <ul className="m-0 flex list-none flex-col gap-2 p-0">
        {list.map((problem) => (
          <Entry key={problem.id} problem={problem} />
        ))}
      </ul>
      <div className="flex flex-wrap gap-2">
        <Button variant="outline" className="max-md:h-11" onClick={dismissAllProblems}>
          {m.dismissAll}
        </Button>
        <Button variant="ghost" className="max-md:h-11" onClick={() => uiStore.setState({ logs: true })}>
          {t.errors.logs}
        </Button>
        <Button variant="ghost" className="max-md:h-11" onClick={() => openSettings('about')}>
          {m.report}
        </Button>
      </div>
    </div>
  )
}

/** What went wrong and was not dismissed yet. */
export function Center() {
  const open = useUi((ui) => ui.center)
  return (
    <Sheet open={open} side="right" title={m.title} onClose={() => uiStore.setState({ center: false })}>
      <List />
    </Sheet>
  )
}
