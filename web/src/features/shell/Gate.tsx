import { KeyRound, LoaderCircle } from 'lucide-react'
import { type FormEvent, type ReactNode, useState } from 'react'
import { scope } from '../../app'
import { useCatalog } from '../../hooks'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { TextInput } from '../../ui/fields'

function Screen({ children }: { children: ReactNode }) {
  return <main className="grid h-full place-items-center p-4">{children}</main>
}

function TokenCard() {
  const [token, setToken] = useState('')
  const [wrong, setWrong] = useState(false)
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setWrong(false)
    await scope.catalog.sendToken(token.trim()).catch(() => setWrong(true))
  }
  return (
    <form
      onSubmit={(event) => void submit(event)}
      data-testid="token-card"
      className="w-[min(420px,100%)] rounded-2 border border-line bg-bg1 p-6"
    >
      <KeyRound size={24} className="text-accent" aria-hidden />
      <h2 className="mt-3 text-20 font-semibold">{t.token.title}</h2>
      <p className="mt-1 text-13 text-fg2">{t.token.body}</p>
      <label className="mt-4 block text-12 text-fg2" htmlFor="token">
        {t.token.label}
      </label>
      <TextInput
        id="token"
        type="password"
        autoComplete="off"
        className="mt-1 h-9 w-full"
        value={token}
        aria-invalid={wrong}
        aria-describedby="token-problem"
        onChange={(event) => setToken(event.target.value)}
      />
      <p id="token-problem" role="alert" className="min-h-5 pt-1 text-12 text-live">
        {wrong && t.token.wrong}
      </p>
      <Button type="submit" variant="primary" size="m" className="mt-2 w-full" disabled={token.trim() === ''}>
        {t.token.submit}
      </Button>
    </form>
  )
}

/** Lets the app through once the server has said what it offers; only a missing token needs the user. */
export function Gate({ children }: { children: ReactNode }) {
  const { phase, known } = useCatalog((catalog) => ({
    phase: catalog.phase,
    known: Object.keys(catalog.pipelines).length > 0,
  }))
  if (phase === 'token') {
    return (
      <Screen>
        <TokenCard />
      </Screen>
    )
  }
  return (
    <>
      {phase === 'offline' && !known && (
        <p
          role="status"
          className="fixed top-16 left-1/2 z-50 flex -translate-x-1/2 items-center gap-2 rounded-full border border-warn bg-bg1 px-4 py-2 text-13"
        >
          <LoaderCircle size={15} className="animate-spin text-warn" aria-hidden />
          {t.boot.offline}
        </p>
      )}
      {children}
    </>
  )
}
