import { ChevronRight, CloudDownload, ExternalLink, RotateCw, ShieldCheck, Trash2, X } from 'lucide-react'
import { useState } from 'react'
import type { Model } from '../../api/types'
import { scope, uiStore } from '../../app'
import { mainNode } from '../../engine/chain'
import { type Check, filesFor, filesOf, isRunning } from '../../engine/models'
import { useCatalog, useDoc, useModels, useNeeds, useUi } from '../../hooks'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { bytes } from '../../ui/format'
import { Sheet } from '../../ui/Sheet'
import { KeyForm } from './KeyForm'
import { amount, FilesState, NoRoom, Progress, Trouble } from './parts'

function Found({ check }: { check: Check }) {
  const bad = check.found.filter(({ outcome }) => outcome === 'damaged')
  const intact = check.found.filter(({ outcome }) => outcome === 'intact').length
  const unknown = check.found.filter(({ outcome }) => outcome === 'unknown').length
  if (check.running) return <p className="text-12 text-fg2">{t.models.verifying}</p>
  if (check.found.length === 0) return null
  return (
    <div className="text-12" data-testid="verified">
      <p className={bad.length > 0 ? 'text-live' : 'text-fg2'}>
        {bad.length > 0 ? t.models.foundDamaged(bad.length) : t.models.foundIntact(intact, unknown)}
      </p>
      {bad.length > 0 && (
        <ul className="m-0 mt-1 list-none p-0 text-11 [overflow-wrap:anywhere] text-fg2">
          {bad.map(({ path, problem }) => (
            <li key={path}>{problem ? `${path}: ${problem}` : path}</li>
          ))}
        </ul>
      )}
    </div>
  )
}

function Licences({ model }: { model: Model }) {
  if (model.repositories.length === 0) return null
  return (
    <div>
      <h4 className="text-11 font-semibold text-fg3">{t.models.sources}</h4>
      <ul className="m-0 mt-0.5 flex list-none flex-col p-0 text-11">
        {model.repositories.map(({ id, licence, page }) => (
          <li key={id} className="flex items-baseline justify-between gap-3">
            <a
              href={page}
              target="_blank"
              rel="noreferrer noopener"
              className="flex min-w-0 items-center gap-1 py-0.5 text-accent hover:underline max-md:py-2"
            >
              <span className="truncate">{id}</span>
              <ExternalLink size={11} className="shrink-0" aria-hidden />
              <span className="sr-only">{t.models.newWindow}</span>
            </a>
            <span className="shrink-0 text-fg3">{licence ?? t.models.licenceOnPage}</span>
          </li>
        ))}
      </ul>
    </div>
  )
}

function FileList({ model, needed }: { model: Model; needed: ReadonlySet<string> }) {
  const files = model.files.filter(({ path }) => needed.has(path))
  return (
    <ul className="num m-0 mt-1 flex list-none flex-col gap-1 p-0 text-11 text-fg2">
      {files.map(({ path, state, bytes: there, size, problem }) => (
        <li key={path} className="flex flex-col">
          <span className="flex justify-between gap-3">
            <span className="min-w-0 truncate" title={path}>
              {path}
            </span>
            <span className="shrink-0 text-fg3">
              {state === 'complete'
                ? bytes(there)
                : `${there > 0 ? `${bytes(there)} / ` : ''}${size ? bytes(size) : '?'}`}
            </span>
          </span>
          {problem && <span className="text-warn">{problem}</span>}
        </li>
      ))}
    </ul>
  )
}

/** Asks once more: what is deleted has to be fetched again. */
function Remove({ id, headingId }: { id: string; headingId: string }) {
  const [sure, setSure] = useState(false)
  return (
    <Button
      variant={sure ? 'danger' : 'ghost'}
      className="max-md:h-11"
      aria-describedby={headingId}
      data-testid={`remove-${id}`}
      onBlur={() => setSure(false)}
      onClick={() => {
        setSure(!sure)
        if (sure) void scope.models.remove(id)
      }}
    >
      <Trash2 size={14} aria-hidden />
      {sure ? t.modelFiles.sure : t.modelFiles.remove}
    </Button>
  )
}

function ModelRow({ id }: { id: string }) {
  const pipeline = useCatalog((catalog) => catalog.pipelines[id] ?? null)
  const { mode, chain } = useDoc(({ mode, chain }) => ({ mode, chain }))
  const needs = useNeeds(pipeline ? [mainNode({ mode, chain }, pipeline)] : [])
  const { model, room, refused, check } = useModels((state) => ({
    model: state.models[id],
    room: state.room,
    refused: state.refused[id],
    check: state.checks[id],
  }))
  const [need] = needs
  if (!model || !need) return null
  const files = filesOf(model, need)
  const running = isRunning(model.progress) ? model.progress : null
  const trouble = refused ?? model.progress?.error ?? null
  const tight = files.missing > 0 && room !== null && room < files.missing
  const name = pipeline?.name ?? model.name
  const headingId = `models-${id}`
  const left = amount(files.missing, files.exact)
  const label =
    files.state === 'missing'
      ? t.models.download(left)
      : files.state === 'damaged'
        ? t.models.repair(left)
        : t.models.resume(left)
  return (
    <li
      aria-labelledby={headingId}
      data-testid={`model-${id}`}
      data-state={running ? 'downloading' : trouble ? 'failed' : files.state}
      className="flex flex-col gap-2 rounded-2 border border-line bg-bg2 p-3"
    >
      <div className="flex items-center justify-between gap-3">
        <h3 id={headingId} className="min-w-0 truncate text-13 font-semibold">
          {name}
        </h3>
        <FilesState files={files} download={model.progress} brief />
      </div>
      {running && <Progress download={running} name={name} />}
      {!running && trouble && <Trouble>{trouble}</Trouble>}
      {!running && model.progress?.error_code === 'authentication' && (
        <KeyForm onStored={() => void scope.models.download([need])} />
      )}
      {!running && tight && <NoRoom need={files.missing} room={room} />}
      {check && <Found check={check} />}
      <div className="flex flex-wrap items-center gap-2">
        {running ? (
          <Button
            variant="outline"
            className="max-md:h-11"
            aria-describedby={headingId}
            data-testid={`cancel-${id}`}
            onClick={() => void scope.models.cancel([id])}
          >
            <X size={14} aria-hidden />
            {t.models.cancel}
          </Button>
        ) : (
          files.state !== 'complete' && (
            <Button
              variant="outline"
              className="max-md:h-11"
              aria-describedby={headingId}
              data-testid={`download-${id}`}
              onClick={() => void (tight ? scope.models.refresh() : scope.models.download([need]))}
            >
              {tight || trouble ? <RotateCw size={14} aria-hidden /> : <CloudDownload size={14} aria-hidden />}
              {tight ? t.models.lookAgain : trouble ? t.models.again : label}
            </Button>
          )
        )}
        {!running && files.bytes > 0 && (
          <Button
            variant="ghost"
            className="max-md:h-11"
            aria-describedby={headingId}
            data-testid={`verify-${id}`}
            disabled={check?.running}
            onClick={() => void scope.models.verify(id)}
          >
            <ShieldCheck size={14} aria-hidden />
            {t.models.verify}
          </Button>
        )}
        {!running && files.bytes > 0 && <Remove id={id} headingId={headingId} />}
        {files.state === 'complete' && <span className="num ml-auto text-11 text-fg3">{bytes(files.bytes)}</span>}
      </div>
      <details className="group">
        <summary className="flex list-none items-center gap-1 text-11 text-fg3 select-none hover:text-fg1 max-md:min-h-11">
          <ChevronRight size={12} className="group-open:rotate-90" aria-hidden />
          {t.models.filesAndLicences}
        </summary>
        <div className="mt-2 flex flex-col gap-3">
          <FileList model={model} needed={new Set(filesFor(model, need).map(({ path }) => path))} />
          <Licences model={model} />
        </div>
      </details>
    </li>
  )
}

function ModelList() {
  const { ids, room } = useModels(({ models, room }) => ({ ids: Object.keys(models).join('\n'), room }))
  const known = ids === '' ? [] : ids.split('\n')
  return (
    <div className="flex flex-col gap-3 p-3">
      {known.length === 0 && <p className="text-12 text-fg3">{t.models.none}</p>}
      <ul className="m-0 flex list-none flex-col gap-3 p-0">
        {known.map((id) => (
          <ModelRow key={id} id={id} />
        ))}
      </ul>
      {room !== null && known.length > 0 && <p className="text-11 text-fg3">{t.models.room(bytes(room))}</p>}
    </div>
  )
}

/** The files of all pipelines that need some. */
export function ModelsSheet() {
  const open = useUi((ui) => ui.models)
  return (
    <Sheet
      open={open}
      side="right"
      title={t.models.title}
      description={t.models.intro}
      onClose={() => uiStore.setState({ models: false })}
    >
      <ModelList />
    </Sheet>
  )
}
