import { Check, Copy, ExternalLink, LoaderCircle } from 'lucide-react'
import { type ReactNode, useCallback, useEffect, useState } from 'react'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { Switch } from '../../ui/controls'

/** What the pages of the settings are made of. */

export function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="mb-6 last:mb-0">
      <h3 className="mb-2 text-13 font-semibold">{title}</h3>
      <div className="flex flex-col gap-2">{children}</div>
    </section>
  )
}

export function Note({ children }: { children: ReactNode }) {
  return <p className="text-12 text-fg2">{children}</p>
}

export function Facts({ children }: { children: ReactNode }) {
  return <dl className="m-0 grid grid-cols-[minmax(96px,auto)_1fr] gap-x-4 gap-y-1.5 text-12">{children}</dl>
}

export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt className="text-fg3">{name}</dt>
      <dd className="m-0 min-w-0 text-fg1 [overflow-wrap:anywhere]">{children}</dd>
    </>
  )
}

export function Toggle({
  label,
  hint,
  checked,
  testId,
  onChange,
}: {
  label: string
  hint: string
  checked: boolean
  testId?: string
  onChange(next: boolean): void
}) {
  return (
    <div className="flex items-center justify-between gap-4">
      <div>
        <p className="text-13">{label}</p>
        <p className="text-12 text-fg3">{hint}</p>
      </div>
      <Switch label={label} checked={checked} testId={testId} onChange={onChange} />
    </div>
  )
}

export function Away({ href, children }: { href: string; children: ReactNode }) {
  return (
    <a
      href={href}
      target="_blank"
      rel="noreferrer"
      className="inline-flex min-h-6 items-center gap-1.5 text-12 text-accent hover:underline"
    >
      {children}
      <ExternalLink size={12} aria-hidden />
      <span className="sr-only">{t.settings.newTab}</span>
    </a>
  )
}

/** A command for a terminal, to be copied. */
export function Terminal({ command }: { command: string }) {
  const [copied, setCopied] = useState(false)
  const copy = () => void navigator.clipboard?.writeText(command).then(() => setCopied(true))
  return (
    <div className="flex items-center gap-2 rounded-1 border border-line bg-bg0 py-1 pr-1 pl-3">
      <code className="num min-w-0 flex-1 text-12 [overflow-wrap:anywhere]">{command}</code>
      <IconButton label={copied ? t.common.copied : t.settings.copyCommand} onClick={copy}>
        {copied ? <Check size={14} className="text-ok" aria-hidden /> : <Copy size={14} aria-hidden />}
      </IconButton>
    </div>
  )
}

export interface Loaded<T> {
  data: T | null
  problem: string | null
  again(): void
}

/** What the server says, asked when the page opens. `load` must not change. */
export function useLoaded<T>(load: () => Promise<T>): Loaded<T> {
  const [data, setData] = useState<T | null>(null)
  const [problem, setProblem] = useState<string | null>(null)
  const again = useCallback(() => {
    setProblem(null)
    load().then(setData, (cause: unknown) => setProblem(cause instanceof Error ? cause.message : String(cause)))
  }, [load])
  useEffect(again, [again])
  return { data, problem, again }
}

/** Until the server has answered, and when it does not. */
export function Waiting({ problem, again }: Pick<Loaded<unknown>, 'problem' | 'again'>) {
  if (problem === null) {
    return (
      <p role="status" className="flex items-center gap-2 text-12 text-fg2">
        <LoaderCircle size={14} className="animate-spin text-accent" aria-hidden />
        {t.settings.loading}
      </p>
    )
  }
  return (
    <div role="alert" className="flex items-center gap-3 text-12 text-warn">
      <span className="min-w-0 flex-1">{t.settings.failed(problem)}</span>
      <Button onClick={again}>{t.settings.retry}</Button>
    </div>
  )
}
