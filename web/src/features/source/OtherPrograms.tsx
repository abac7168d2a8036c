import { CircleCheck, CircleSlash } from 'lucide-react'
import { useState } from 'react'
import { api } from '../../api/client'
import { VIDEO_ROUTES } from '../../api/types'
import { t } from '../../messages'
import { useLoaded, Waiting } from '../settings/parts'

const load = () => api.hardware()

/** What there is of them, asked when it is looked at. */
export function Routes() {
  const { data, problem, again } = useLoaded(load)
  if (!data) return <Waiting problem={problem} again={again} />
  return (
    <ul className="m-0 flex list-none flex-col gap-2.5 p-0" data-testid="video-routes">
      {VIDEO_ROUTES.map((id) => {
        const { available, reason, install_hint: hint } = data[id]
        const Icon = available ? CircleCheck : CircleSlash
        return (
          <li key={id} data-testid={`route-${id}`} data-available={available} className="flex gap-2 text-12">
            <Icon
              size={14}
              className={available ? 'mt-0.5 shrink-0 text-ok' : 'mt-0.5 shrink-0 text-fg3'}
              aria-hidden
            />
            <div className="min-w-0">
              <p className="text-fg1">{t.routes.names[id]}</p>
              <p className="text-fg2 [overflow-wrap:anywhere]">
                {available ? t.routes.available : (reason ?? t.routes.unavailable)}
              </p>
              {!available && hint && <p className="text-fg3 [overflow-wrap:anywhere]">{hint}</p>}
            </div>
          </li>
        )
      })}
    </ul>
  )
}

/** Pictures from and to other programs, in and out: what the server has of it, and why it has not. */
export function OtherPrograms() {
  const [open, setOpen] = useState(false)
  return (
    <details
      className="border-t border-line pt-2"
      data-testid="other-programs"
      onToggle={(event) => setOpen(event.currentTarget.open)}
    >
      <summary className="min-h-6 text-12 text-fg2 select-none hover:text-fg1 max-md:min-h-11">
        {t.routes.title}
      </summary>
      <div className="mt-1.5 flex flex-col gap-2.5">
        {open && <Routes />}
        <p className="text-11 text-fg3">{t.routes.instead}</p>
      </div>
    </details>
  )
}
