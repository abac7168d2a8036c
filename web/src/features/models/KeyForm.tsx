import { type FormEvent, useId, useState } from 'react'
import { api, type KeyService } from '../../api/client'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { TextInput } from '../../ui/fields'

/** Where a repository wants to know who asks: takes a key, stores it on the server, and goes on. */
export function KeyForm({ service = 'huggingface', onStored }: { service?: KeyService; onStored(): void }) {
  const [key, setKey] = useState('')
  const [problem, setProblem] = useState<string | null>(null)
  const id = useId()
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setProblem(null)
    try {
      await api.storeKey(service, key.trim())
      setKey('')
      onStored()
    } catch (cause) {
      setProblem(cause instanceof Error ? cause.message : t.models.keyFailed)
    }
  }
  return (
    <form onSubmit={(event) => void submit(event)} className="flex flex-col gap-1.5">
      <label htmlFor={id} className="text-12 text-fg1">
        {t.models.key[service]}
      </label>
      <div className="flex gap-2">
        <TextInput
          id={id}
          type="password"
          autoComplete="off"
          data-testid="model-key"
          className="min-w-0 flex-1"
          value={key}
          aria-invalid={problem !== null}
          aria-describedby={`${id}-hint`}
          onChange={(event) => setKey(event.target.value)}
        />
        <Button type="submit" variant="primary" className="max-md:h-11" disabled={key.trim() === ''}>
          {t.models.keyStore}
        </Button>
      </div>
      <p id={`${id}-hint`} className={problem ? 'text-11 text-live' : 'text-11 text-fg3'} aria-live="polite">
        {problem ?? t.models.keyHint}
      </p>
    </form>
  )
}
