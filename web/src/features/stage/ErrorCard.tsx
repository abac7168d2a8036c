import { CloudDownload, TriangleAlert, X } from 'lucide-react'
import { useState } from 'react'
import { api } from '../../api/client'
import { scope, uiStore } from '../../app'
import { withoutProcessors } from '../../doc/chain'
import { editDoc } from '../../doc/history'
import { docStore } from '../../doc/store'
import { isRunning } from '../../engine/models'
import { useChain, useModels, useNeeds, usePipeline, useSession } from '../../hooks'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { revealPipeline } from '../graph/places'
import { MissingModels } from '../models/MissingModels'
import { openModels } from '../models/open'
import { openSettings } from '../settings/commands'
import { type Action, quantised, smaller, startAnew } from './remedies'
import { StageCard } from './StageOverlay'

async function takeOver(): Promise<void> {
  const ids = await api.sessions().catch(() => [])
  await Promise.all(ids.map((id) => api.endSession(id).catch(() => undefined)))
  await scope.start()
}

const start = () => void scope.start()
const retry: Action = { label: t.common.retry, run: start }
const restart: Action = { label: t.errors.restart, run: () => void startAnew() }
const openLog: Action = { label: t.errors.logs, run: () => uiStore.setState({ logs: true }) }
const testNetwork: Action = { label: t.errors.network, run: () => openSettings('video') }
const present = (action: Action | null) => (action ? [action] : [])

const storage: Action = { label: t.waysOut.folder, run: () => openSettings('storage') }

function choosePipeline(): void {
  scope.session.clearError()
  uiStore.setState({ tab: 'tune', drawer: 'inspector' })
  revealPipeline()
}

function resetParams(): void {
  const nodes = scope.chain().map(({ id }) => id)
  editDoc(t.waysOut.resetParams, (doc) => ({
    ...doc,
    params: Object.fromEntries(Object.entries(doc.params).filter(([node]) => !nodes.includes(node))),
  }))
  start()
}

function withoutAny(): Action | null {
  const { before, after } = docStore.getState().chain
  if (before.length + after.length === 0) return null
  const run = () => {
    editDoc(t.waysOut.withoutProcessors, withoutProcessors(new Set([...before, ...after])))
    start()
  }
  return { label: t.waysOut.withoutProcessors, run }
}

/** Ways out, the best first. */
function actionsFor(code: string): Action[] {
  switch (code) {
    case 'out_of_memory': {
      const unload: Action = { label: t.errors.unload, run: () => void startAnew() }
      return [...present(smaller(start)), ...present(quantised(start)), unload, retry]
    }
    case 'pipeline_failed':
    case 'pipeline_panicked':
    case 'load_failed':
    case 'load_timeout':
      return [restart, openLog]
    case 'ice_failed':
      return [retry, testNetwork]
    case 'no_first_frame':
      return [retry, testNetwork, openLog]
    case 'connection_lost':
      return [retry, testNetwork]
    case 'server_unreachable':
    case 'server_stopping':
      return [retry, { label: t.errors.reload, run: () => location.reload() }]
    case 'session_limit':
      return [{ label: t.errors.takeOver, run: () => void takeOver() }, retry]
    case 'token_required':
    case 'invalid_offer':
      return [{ label: t.errors.reload, run: () => location.reload() }, retry]
    case 'models_missing': {
      const passthrough = scope.catalog.store.getState().pipelines.passthrough
      if (!passthrough) return []
      const run = () => {
        const missing = new Set(scope.missing().map((need) => need.pipelineId))
        editDoc(t.project.edits.pipeline, (doc) => ({
          ...withoutProcessors(missing)(doc),
          pipelineId: passthrough.id,
          mode: 'video',
        }))
        void scope.start()
      }
      return [{ label: t.errors.passthrough, run }]
    }
    case 'disk_full':
      return [{ label: t.waysOut.models, run: openModels }, storage, retry, openLog]
    case 'unknown_pipeline':
      return [{ label: t.waysOut.choosePipeline, run: choosePipeline }, retry]
    case 'invalid_parameters':
      return [{ label: t.waysOut.resetParams, run: resetParams }, retry, openLog]
    case 'invalid_graph':
      return [...present(withoutAny()), { label: t.waysOut.choosePipeline, run: choosePipeline }, retry, openLog]
    default:
      return [retry, openLog]
  }
}

/** Where the server's own first line says more than any title. */
const OWN_WORDS: ReadonlySet<string> = new Set([
  'pipeline_failed',
  'pipeline_panicked',
  'load_failed',
  'invalid_parameters',
  'invalid_graph',
])

/** Stays until the user acts: says what happened, what still works, and offers the ways out as buttons. */
export function ErrorCard() {
  const error = useSession((session) => session.error)
  const [copied, setCopied] = useState(false)
  const pipeline = usePipeline()
  const needs = useNeeds(useChain())
  const coming = useModels(({ models }) => needs.some((need) => isRunning(models[need.pipelineId]?.progress)))
  if (!error) return null
  const fetching = error.code === 'models_missing' && coming && pipeline
  const fallback = { title: t.state.failed, body: error.message }
  const { title, body } = fetching
    ? { title: t.models.downloading(pipeline.name), body: t.models.meanwhile }
    : (t.errors.catalogue[error.code] ?? fallback)
  const [first, ...others] = actionsFor(error.code)
  const copy = () => navigator.clipboard?.writeText(`${error.code}: ${error.message}`).then(() => setCopied(true))
  return (
    <StageCard>
      <div className="relative">
        <IconButton
          label={t.common.dismiss}
          className="absolute -top-2 -right-2"
          onClick={() => scope.session.clearError()}
        >
          <X size={16} aria-hidden />
        </IconButton>
      </div>
      <div role="alert" data-testid="error-card" data-code={error.code}>
        <p className="flex items-start gap-2.5 pr-8 text-16 font-semibold">
          {fetching ? (
            <CloudDownload size={20} className="mt-0.5 shrink-0 text-accent" aria-hidden />
          ) : (
            <TriangleAlert size={20} className="mt-0.5 shrink-0 text-live" aria-hidden />
          )}
          {title}
        </p>
        <p className="mt-1.5 text-13 text-fg2">{body}</p>
        {error.code === 'out_of_memory' && pipeline?.estimated_vram_gb != null && (
          <p className="mt-1 text-13 text-fg2">{t.errors.needs(pipeline.name, pipeline.estimated_vram_gb)}</p>
        )}
        {OWN_WORDS.has(error.code) && error.message !== '' && (
          <p className="num mt-2 line-clamp-3 rounded-1 bg-bg0 px-2 py-1.5 text-12 [overflow-wrap:anywhere]">
            {error.message.split('\n')[0]}
          </p>
        )}
      </div>
      {error.code === 'models_missing' && <MissingModels />}
      <div className="mt-4 flex flex-wrap gap-2">
        {first && (
          <Button variant={error.code === 'models_missing' ? 'outline' : 'primary'} size="m" onClick={first.run}>
            {first.label}
          </Button>
        )}
        {others.map((action) => (
          <Button key={action.label} variant="outline" size="m" onClick={action.run}>
            {action.label}
          </Button>
        ))}
      </div>
      <details className="mt-4 border-t border-line pt-3 text-12 text-fg2">
        <summary className="select-none">{t.common.details}</summary>
        <pre className="num mt-2 max-h-32 overflow-auto rounded-1 bg-bg0 p-2 text-11 whitespace-pre-wrap text-fg2">
          {`${error.code}: ${error.message}`}
        </pre>
        <Button variant="ghost" className="mt-1" onClick={() => void copy()}>
          {copied ? t.common.copied : t.common.copy}
        </Button>
      </details>
    </StageCard>
  )
}
