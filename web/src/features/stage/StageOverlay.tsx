import { LoaderCircle, Pause, Play, Unplug } from 'lucide-react'
import type { ReactNode } from 'react'
import { scope } from '../../app'
import { editDoc } from '../../doc/history'
import { isRunning } from '../../engine/models'
import { MAX_ATTEMPTS } from '../../engine/session'
import { useCatalog, useChain, useDoc, useMode, useModels, useNeeds, usePipeline, useSession } from '../../hooks'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { MissingModels } from '../models/MissingModels'
import { ErrorCard } from './ErrorCard'
import { LoadCard } from './LoadCard'

export function StageCard({ children }: { children: ReactNode }) {
  return (
    <div className="w-[min(440px,92%)] rounded-2 border border-line bg-bg1/95 p-5 shadow-2xl max-md:p-3.5 shadow-black/60">
      {children}
    </div>
  )
}

function Busy({ text, children }: { text: string; children?: ReactNode }) {
  return (
    <div className="flex flex-col items-center gap-3 rounded-2 bg-bg0/80 px-6 py-4 text-center">
      <p className="flex items-center gap-2.5 text-14 font-medium">
        <LoaderCircle size={18} className="animate-spin text-accent" aria-hidden />
        {text}
      </p>
      {children}
    </div>
  )
}

/** The document asks for a pipeline that this server does not have. It stays chosen until somebody chooses another. */
function MissingPipeline() {
  const id = useDoc(({ pipelineId }) => pipelineId)
  const known = useCatalog(({ phase, pipelines }) => phase === 'ready' && Object.keys(pipelines).length > 0)
  if (!known || id === null) return null
  const offered = scope.offeredPipeline()
  const use = (other: string) => editDoc(t.project.edits.pipeline, (doc) => ({ ...doc, pipelineId: other }))
  return (
    <StageCard>
      <div data-testid="missing-pipeline" role="status">
        <p className="flex items-start gap-2.5 text-16 font-semibold">
          <Unplug size={20} className="mt-0.5 shrink-0 text-warn" aria-hidden />
          <span className="[overflow-wrap:anywhere]">{t.missingPipeline.title(id)}</span>
        </p>
        <p className="mt-1.5 text-13 text-fg2">{t.missingPipeline.body}</p>
        <div className="mt-4 flex flex-wrap gap-2">
          {offered && (
            <Button variant="primary" size="m" className="max-md:h-11" onClick={() => use(offered.id)}>
              {t.missingPipeline.use(offered.name)}
            </Button>
          )}
          <Button variant="outline" size="m" className="max-md:h-11" onClick={() => void scope.catalog.load()}>
            {t.missingPipeline.again}
          </Button>
        </div>
      </div>
    </StageCard>
  )
}

function Idle() {
  const pipeline = usePipeline()
  const mode = useMode()
  const needs = useNeeds(useChain())
  const coming = useModels(({ models }) => needs.some((need) => isRunning(models[need.pipelineId]?.progress)))
  if (!pipeline) return <MissingPipeline />
  if (coming) {
    return (
      <StageCard>
        <p className="text-16 font-semibold">{t.models.downloading(pipeline.name)}</p>
        <MissingModels />
      </StageCard>
    )
  }
  const prompted = pipeline.supports_prompts
  return (
    <div className="flex flex-col items-center gap-4">
      <button
        type="button"
        aria-label={t.stage.start}
        data-testid="stage-start"
        onClick={() => void scope.start()}
        className="grid h-20 w-20 place-items-center rounded-full bg-accent text-accent-ink shadow-2xl shadow-black/60 transition-transform duration-100 hover:scale-105 active:scale-95 max-md:h-16 max-md:w-16"
      >
        <Play size={32} fill="currentColor" className="translate-x-0.5" aria-hidden />
      </button>
      <p className="rounded-1 bg-bg0/70 px-2.5 py-1 text-13 text-fg1">
        {prompted || mode === 'text' ? t.stage.startHint(pipeline.name) : t.stage.startHintInput(pipeline.name)}
      </p>
    </div>
  )
}

function content(state: string, attempt: number, parked: boolean): ReactNode {
  switch (state) {
    case 'idle':
      return <Idle />
    case 'checking':
      return <Busy text={t.stage.checking} />
    case 'loading':
      return <LoadCard />
    case 'connecting':
      return <Busy text={t.stage.connecting} />
    case 'waiting':
      return <Busy text={t.stage.waiting} />
    case 'stalled':
      return <Busy text={parked ? t.stage.parked : t.stage.stalled} />
    case 'stopping':
      return <Busy text={t.stage.stopping} />
    case 'failed':
      return <ErrorCard />
    case 'reconnecting':
      return (
        <Busy text={t.stage.reconnecting(attempt, MAX_ATTEMPTS)}>
          <p className="max-w-72 text-12 text-fg2">{t.stage.reconnectingBody}</p>
          <Button variant="outline" onClick={() => void scope.session.stop()}>
            {t.header.stop}
          </Button>
        </Busy>
      )
    default:
      return null
  }
}

/** Often over before it could be read: shown only when it takes a moment. */
const BRIEF: ReadonlySet<string> = new Set(['checking', 'loading', 'connecting', 'waiting'])

export function StageOverlay() {
  const { state, attempt, parked } = useSession(({ state, attempt, parked }) => ({ state, attempt, parked }))
  if (state === 'live') return null
  if (state === 'paused') {
    return (
      <p className="pointer-events-none absolute top-3 left-3 flex items-center gap-2 rounded-full bg-bg0/85 px-3 py-1.5 text-12 font-medium">
        <Pause size={13} fill="currentColor" aria-hidden />
        {t.stage.paused}
      </p>
    )
  }
  return (
    <div
      className={cx(
        'absolute inset-0 grid place-items-center overflow-auto p-3 max-md:p-2',
        BRIEF.has(state) && 'animate-late',
      )}
    >
      {content(state, attempt, parked)}
    </div>
  )
}
