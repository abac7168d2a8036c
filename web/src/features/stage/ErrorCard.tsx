import { CloudDownload, TriangleAlert, X } from 'lucide-react'
import { useState } from 'react'
import { api } from '../../api/client'
import { scope, uiStore } from '../../app'
import { withoutProcessors } from '../../doc/chain'
import { changeDoc, docStore } from '../../doc/store'
import { isRunning } from '../../engine/models'
import { sizeFor } from '../../engine/wire'
import { useChain, useModels, useNeeds, usePipeline, useSession } from '../../hooks'
import { t } from '../../messages'
import { allFields } from '../../schema/plan'
import { type Size, smallerSize } from '../../schema/resolution'
import { Button, IconButton } from '../../ui/Button'
import { MissingModels } from '../models/MissingModels'
import { StageCard } from './StageOverlay'

interface Action {
  label: string
  run(): void
}

const mainOfDoc = () => scope.chain().find(({ role }) => role === 'main')

function nextSmallerSize(): Size | null {
  const node = mainOfDoc()
  if (!node) return null
  const field = allFields(node.pipeline, node.mode).find((candidate) => candidate.size)
  return field?.size ? smallerSize(sizeFor(docStore.getState(), node.pipeline), field.size.rule) : null
}

async function takeOver(): Promise<void> {
  const ids = await api.sessions().catch(() => [])
  await Promise.all(ids.map((id) => api.endSession(id).catch(() => undefined)))
  await scope.start()
}

const retry: Action = { label: t.common.retry, run: () => void scope.start() }
const openLog: Action = { label: t.errors.logs, run: () => uiStore.setState({ logs: true }) }

function actionsFor(code: string): Action[] {
  switch (code) {
    case 'out_of_memory': {
      const size = nextSmallerSize()
      const unload: Action = {
        label: t.errors.unload,
        run: () =>
          void api.unload().then(
            () => scope.start(),
            () => scope.start(),
          ),
      }
      if (!size) return [retry, unload]
      const smaller: Action = {
        label: t.errors.smaller(size.width, size.height),
        run: () => {
          const node = mainOfDoc()
          if (node) scope.setParam(node, 'width', size.width)
          if (node) scope.setParam(node, 'height', size.height)
          void scope.start()
        },
      }
      return [smaller, unload, retry]
    }
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
        changeDoc((doc) => ({ ...withoutProcessors(missing)(doc), pipelineId: passthrough.id, mode: 'video' }))
        void scope.start()
      }
      return [{ label: t.errors.passthrough, run }]
    }
    default:
      return [retry, openLog]
  }
}

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
