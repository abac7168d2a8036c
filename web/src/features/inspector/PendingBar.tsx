import { RefreshCw } from 'lucide-react'
import { scope } from '../../app'
import { editDoc } from '../../doc/history'
import type { LoadPlan } from '../../engine/loading'
import { filesOf } from '../../engine/models'
import { useChain, useDoc, useModels, useNeeds, useOnScreen, usePipeline, useSession } from '../../hooks'
import { t } from '../../messages'
import { asLoaded } from '../../schema/loras'
import { Button } from '../../ui/Button'
import { MissingModels } from '../models/MissingModels'
import { expectedLoadMs } from '../stage/loadTimes'

/** Puts the document back to what is running; live parameters are not touched. */
function discard(running: LoadPlan): void {
  editDoc(t.inspector.discard, (doc) => {
    const params = { ...doc.params }
    for (const { nodeId, loadParams } of running.nodes) {
      const { loras: now, ...own } = params[nodeId] ?? {}
      const loras = asLoaded(now, loadParams.loras)
      params[nodeId] = { ...own, ...loadParams, ...(loras.length > 0 ? { loras } : {}) }
    }
    return { ...doc, pipelineId: running.main, mode: running.mode, chain: running.chain, params }
  })
}

/** Nothing that needs a reload happens by itself: it waits here until it is applied or discarded. */
export function PendingBar() {
  const pipeline = usePipeline()
  const running = useSession((session) => session.running)
  const onScreen = useOnScreen()
  const pending = useDoc((doc) => scope.reloadPending(running, doc))
  const needs = useNeeds(useChain())
  const lacking = useModels(({ models }) =>
    needs.some((need) => {
      const model = models[need.pipelineId]
      return model !== undefined && filesOf(model, need).state !== 'complete'
    }),
  )
  if (!pending || !onScreen || !running || !pipeline) return null
  const expected = expectedLoadMs(pipeline.id)
  return (
    <div role="status" data-testid="pending-bar" className="mx-3 mb-3 rounded-1 border border-warn/70 bg-warn/10 p-2.5">
      <p className="flex items-center gap-2 text-12 font-medium text-warn">
        <RefreshCw size={13} aria-hidden />
        {t.inspector.pending}
      </p>
      {lacking && (
        <>
          <p className="mt-1.5 text-12 text-fg2">{t.inspector.pendingFiles}</p>
          <MissingModels start={false} />
        </>
      )}
      <div className="mt-2 flex gap-2">
        {!lacking && (
          <Button
            variant="primary"
            data-testid="apply-reload"
            className="flex-1"
            onClick={() => void scope.applyReload()}
          >
            {expected === null ? t.inspector.apply : t.inspector.applyAbout(Math.max(1, Math.round(expected / 1000)))}
          </Button>
        )}
        <Button variant="ghost" onClick={() => discard(running)}>
          {t.inspector.discard}
        </Button>
      </div>
    </div>
  )
}
