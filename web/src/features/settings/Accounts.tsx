import { CircleCheck, Lock } from 'lucide-react'
import { type FormEvent, useState } from 'react'
import { api } from '../../api/client'
import type { ServiceKey } from '../../api/types'
import { notify } from '../../app'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { TextInput } from '../../ui/fields'
import { Away, Note, useLoaded, Waiting } from './parts'

const m = t.settings.accounts
const load = () => api.keys()

function State({ entry }: { entry: ServiceKey }) {
  if (!entry.is_set) return <span className="text-12 text-fg3">{m.unset}</span>
  return (
    <span className="flex items-center gap-1.5 text-12 text-ok">
      <CircleCheck size={14} aria-hidden />
      {m.set}
    </span>
  )
}

function KeyEntry({ entry, again }: { entry: ServiceKey; again(): void }) {
  const [value, setValue] = useState('')
  const [problem, setProblem] = useState<string | null>(null)
  const locked = entry.is_set && entry.source === 'env_var'
  const attempt = async (work: Promise<void>, done: string) => {
    setProblem(null)
    try {
      await work
      setValue('')
      notify(done)
      again()
    } catch (cause) {
      setProblem(cause instanceof Error ? cause.message : String(cause))
    }
  }
  const store = (event: FormEvent) => {
    event.preventDefault()
    void attempt(api.storeKey(entry.id, value.trim()), m.stored(entry.name))
  }
  return (
    <section data-testid={`account-${entry.id}`} className="rounded-2 border border-line bg-bg2 p-3">
      <div className="flex items-center justify-between gap-3">
        <h3 className="text-13 font-semibold">{entry.name}</h3>
        <State entry={entry} />
      </div>
      <p className="mt-0.5 mb-2 text-12 text-fg2">{entry.description}</p>
      {locked ? (
        <p className="flex items-start gap-2 text-12 text-fg2">
          <Lock size={14} className="mt-px shrink-0" aria-hidden />
          {m.fromEnv(entry.env_var)}
        </p>
      ) : (
        <form onSubmit={store} className="flex flex-wrap gap-2">
          <TextInput
            type="password"
            autoComplete="off"
            aria-label={m.value(entry.name)}
            aria-invalid={problem !== null}
            className="min-w-40 flex-1"
            value={value}
            onChange={(event) => setValue(event.target.value)}
          />
          <Button type="submit" variant="primary" className="max-md:h-11" disabled={value.trim() === ''}>
            {m.store}
          </Button>
          {entry.is_set && (
            <Button
              variant="outline"
              className="max-md:h-11"
              aria-label={m.forgetOf(entry.name)}
              onClick={() => void attempt(api.forgetKey(entry.id), m.forgotten(entry.name))}
            >
              {m.forget}
            </Button>
          )}
        </form>
      )}
      {problem && (
        <p role="alert" className="mt-1.5 text-12 text-live">
          {problem}
        </p>
      )}
      {entry.key_url && !locked && (
        <div className="mt-1.5">
          <Away href={entry.key_url}>{m.get}</Away>
        </div>
      )}
    </section>
  )
}

export function Accounts() {
  const { data, problem, again } = useLoaded(load)
  return (
    <div className="flex flex-col gap-3">
      <Note>{m.intro}</Note>
      {data ? (
        data.map((entry) => <KeyEntry key={entry.id} entry={entry} again={again} />)
      ) : (
        <Waiting problem={problem} again={again} />
      )}
    </div>
  )
}
