import { Check, ChevronRight, ExternalLink, FileUp, Plus, Sparkles, Trash2 } from 'lucide-react'
import { type FormEvent, useId, useMemo, useState } from 'react'
import { useStore } from 'zustand'
import type { KeyService } from '../../api/client'
import type { Lora } from '../../api/types'
import { notify, scope } from '../../app'
import { findLoras, type Install, LORA_TYPE, pageOf } from '../../engine/library'
import { useDoc, useOnScreen } from '../../hooks'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { TextInput } from '../../ui/fields'
import { bytes } from '../../ui/format'
import { KeyForm } from '../models/KeyForm'
import { addAdapter, MAX_LORAS, removeAdapter, useAdapters } from './adapters'
import { DropArea, Empty, Failed, FileButton, NoMatch, SearchBox, Uploads } from './parts'

const texts = t.library.loras

function hostOf(url: string): string {
  try {
    return new URL(url).hostname
  } catch {
    return ''
  }
}

const isCivitai = (url: string) => /(^|\.)civitai\.com$/.test(hostOf(url))

/** Why an adapter could not be installed, in words that say what to do. */
function explain({ url, problem }: Install): string | null {
  if (!problem) return null
  switch (problem.status) {
    case 401:
      return texts.problems.needsKey(hostOf(url))
    case 403:
      return texts.problems.denied
    case 404:
      return texts.problems.notFound
    case 409:
      return texts.problems.exists
    case 507:
      return texts.problems.full
    case 502:
      return texts.problems.offline
    default:
      return problem.code === 'host_forbidden' ? texts.problems.forbidden : problem.message
  }
}

function Trouble({ install, onAgain }: { install: Install; onAgain(): void }) {
  const { url, problem } = install
  if (!problem) return null
  const service: KeyService = isCivitai(url) ? 'civitai' : 'huggingface'
  const page = problem.status === 403 && hostOf(url) !== '' ? url.replace(/\/(resolve|blob)\/.*$/, '') : null
  return (
    <div
      role="alert"
      data-testid="install-trouble"
      className="flex flex-col gap-2 rounded-1 border border-live/60 bg-live/10 p-2.5"
    >
      <p className="text-12 [overflow-wrap:anywhere]">{explain(install)}</p>
      {problem.status === 401 && <KeyForm service={service} onStored={onAgain} />}
      {page && (
        <a
          href={page}
          target="_blank"
          rel="noreferrer noopener"
          className="flex items-center gap-1 self-start py-1 text-12 text-accent hover:underline"
        >
          {texts.openPage}
          <ExternalLink size={12} aria-hidden />
          <span className="sr-only">{t.models.newWindow}</span>
        </a>
      )}
    </div>
  )
}

function InstallForm() {
  const now = useStore(scope.library.install, (state) => state.now)
  const [url, setUrl] = useState('')
  const id = useId()
  const running = now !== null && now.problem === null
  const install = async (address: string) => {
    const lora = await scope.library.installFrom(address)
    if (!lora) return
    setUrl('')
    notify(texts.installed(lora.name))
  }
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (url.trim() !== '' && !running) void install(url.trim())
  }
  const { downloaded_bytes: done = 0, total_bytes: total } = now?.progress ?? {}
  const share = total ? Math.round((done / total) * 100) : null
  const amount = now?.progress ? (total ? t.library.of(bytes(done), bytes(total)) : bytes(done)) : texts.installing
  return (
    <div className="flex flex-col gap-1.5">
      <label htmlFor={id} className="text-12 text-fg1">
        {texts.url}
      </label>
      <form onSubmit={submit} className="flex gap-2">
        <TextInput
          id={id}
          type="url"
          autoComplete="off"
          placeholder="https://huggingface.co/…"
          data-testid="lora-url"
          className="min-w-0 flex-1"
          value={url}
          aria-describedby={`${id}-hint`}
          onChange={(event) => {
            setUrl(event.target.value)
            if (now?.problem) scope.library.forgetInstall()
          }}
        />
        <Button
          type="submit"
          variant="primary"
          className="max-md:h-11"
          data-testid="install-lora"
          disabled={url.trim() === '' || running}
        >
          {texts.install}
        </Button>
      </form>
      <p id={`${id}-hint`} className="text-11 text-fg3">
        {texts.urlHint}
      </p>
      {running && (
        <div className="flex flex-col gap-1">
          <div
            role="progressbar"
            data-testid="install-progress"
            aria-label={t.library.uploading(now.url)}
            aria-valuemin={0}
            aria-valuemax={100}
            aria-valuenow={share ?? undefined}
            aria-valuetext={amount}
            className="h-1 overflow-hidden rounded-full bg-edge/50"
          >
            <div
              className={share === null ? 'h-full w-1/3 animate-indeterminate bg-accent' : 'h-full bg-accent'}
              style={share === null ? undefined : { width: `${share}%` }}
            />
          </div>
          <div className="flex items-center gap-3">
            <p className="num mr-auto text-11 text-fg3">{amount}</p>
            <Button
              variant="ghost"
              className="max-md:h-11"
              data-testid="cancel-install"
              disabled={!now.progress}
              onClick={() => void scope.library.cancelInstall()}
            >
              {t.models.cancel}
            </Button>
          </div>
        </div>
      )}
      {now && <Trouble install={now} onAgain={() => void install(now.url)} />}
    </div>
  )
}

function Facts({ lora }: { lora: Lora }) {
  const page = pageOf(lora)
  const { provenance } = lora
  const from =
    provenance?.repo_id ?? provenance?.url ?? texts.sources[provenance?.source ?? 'local'] ?? provenance?.source
  return (
    <dl className="m-0 mt-2 grid grid-cols-[auto_1fr] gap-x-3 gap-y-1 text-11">
      <dt className="text-fg3">{texts.from}</dt>
      <dd className="m-0 min-w-0 [overflow-wrap:anywhere]">
        {page ? (
          <a href={page} target="_blank" rel="noreferrer noopener" className="text-accent hover:underline">
            {from}
            <span className="sr-only">{t.models.newWindow}</span>
          </a>
        ) : (
          from
        )}
      </dd>
      <dt className="text-fg3">{texts.licence}</dt>
      <dd className="m-0">{lora.licence ?? (page ? t.models.licenceOnPage : texts.licenceUnknown)}</dd>
      {lora.trigger_words.length > 0 && (
        <>
          <dt className="text-fg3">{texts.words}</dt>
          <dd className="m-0">{lora.trigger_words.join(', ')}</dd>
        </>
      )}
      {lora.sha256 && (
        <>
          <dt className="text-fg3">{texts.checksum}</dt>
          <dd className="num m-0 [overflow-wrap:anywhere]">{lora.sha256}</dd>
        </>
      )}
    </dl>
  )
}

function Row({ lora }: { lora: Lora }) {
  const adapters = useAdapters()
  const onScreen = useOnScreen()
  const mine = adapters?.list.some(({ path }) => path === lora.path) ?? false
  const add = () => {
    if (!adapters) return
    addAdapter(adapters, lora)
    if (onScreen) notify(texts.waits)
  }
  const remove = () => {
    const undo = scope.library.loras.remove(lora)
    notify(t.library.removed(lora.name), { label: t.library.undo, run: undo })
  }
  return (
    <li data-testid="lora" data-name={lora.name} className="rounded-1 border border-line bg-bg2 p-2.5">
      <div className="flex items-center gap-2">
        <div className="mr-auto min-w-0">
          <p className="truncate text-13 font-medium" title={lora.path}>
            {lora.name}
          </p>
          <p className="num text-11 text-fg3">
            {bytes(lora.size_mb * 1_048_576)}
            {lora.folder ? ` · ${lora.folder}` : ''}
            {lora.read_only ? ` · ${texts.shared}` : ''}
          </p>
        </div>
        {adapters &&
          (mine ? (
            <Button
              variant="ghost"
              className="text-ok max-md:h-11"
              aria-label={texts.takeOut(lora.name)}
              aria-pressed
              onClick={() => removeAdapter(adapters, lora.path)}
            >
              <Check size={14} aria-hidden />
              {texts.added}
            </Button>
          ) : (
            <Button
              variant="outline"
              className="max-md:h-11"
              data-testid="add-lora"
              aria-label={texts.addTo(lora.name, adapters.node.pipeline.name)}
              disabled={adapters.list.length >= MAX_LORAS}
              onClick={add}
            >
              <Plus size={14} aria-hidden />
              {texts.add}
            </Button>
          ))}
        {!lora.read_only && (
          <IconButton
            label={`${t.library.remove}: ${lora.name}`}
            data-testid="delete-lora"
            className="max-md:h-11 max-md:w-11"
            disabled={mine}
            onClick={remove}
          >
            <Trash2 size={14} aria-hidden />
          </IconButton>
        )}
      </div>
      <details className="group mt-1">
        <summary
          aria-label={texts.details(lora.name)}
          className="flex min-h-6 list-none items-center gap-1 text-11 text-fg3 select-none hover:text-fg1 max-md:min-h-11"
        >
          <ChevronRight size={12} className="group-open:rotate-90" aria-hidden />
          {t.common.details}
        </summary>
        <Facts lora={lora} />
      </details>
    </li>
  )
}

/** Rows in the page at a time. */
const PAGE = 100

export function LorasTab() {
  const shelf = scope.library.loras
  const { phase, items, problem } = useStore(shelf.store)
  const pipeline = useDoc((doc) => doc.pipelineId)
  const adapters = useAdapters()
  const [query, setQuery] = useState('')
  const [limit, setLimit] = useState(PAGE)
  const found = useMemo(() => findLoras(items, query), [items, query])
  const take = (files: File[]) => void shelf.upload(files)
  return (
    <DropArea hint={t.library.media.drop} onFiles={take}>
      <div className="flex shrink-0 flex-col gap-3 border-b border-line p-3">
        <InstallForm />
        <div className="flex flex-wrap gap-2">
          <SearchBox label={texts.search} value={query} onChange={setQuery} />
          <FileButton
            label={texts.upload}
            accept={`.${LORA_TYPE}`}
            multiple
            testId="upload-lora"
            icon={FileUp}
            onFiles={take}
          />
        </div>
        {!adapters && pipeline && (
          <p className="text-12 text-fg3">{texts.nobody(scope.pipeline()?.name ?? pipeline)}</p>
        )}
      </div>
      <Uploads shelf={shelf} />
      {phase !== 'loading' && problem && (
        <Failed
          reason={phase === 'failed' ? t.library.failed(problem.message) : problem.message}
          onRetry={() => void shelf.refresh()}
        />
      )}
      {phase === 'loading' && items.length === 0 && <p className="p-3 text-12 text-fg3">{t.library.loading}</p>}
      {phase === 'ready' && items.length === 0 && (
        <Empty icon={Sparkles} title={texts.empty}>
          {texts.emptyHint}
        </Empty>
      )}
      {phase === 'ready' && items.length > 0 && found.length === 0 && <NoMatch onClear={() => setQuery('')} />}
      {found.length > 0 && (
        <ul aria-label={texts.list} className="m-0 flex min-h-0 flex-1 list-none flex-col gap-2 overflow-y-auto p-3">
          {found.slice(0, limit).map((lora) => (
            <Row key={lora.path} lora={lora} />
          ))}
          {found.length > limit && (
            <li>
              <Button variant="outline" className="w-full max-md:h-11" onClick={() => setLimit(limit + PAGE)}>
                {t.library.more(Math.min(PAGE, found.length - limit))}
              </Button>
            </li>
          )}
        </ul>
      )}
    </DropArea>
  )
}
