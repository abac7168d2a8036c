import { useMemo, useState } from 'react'
import { useStore } from 'zustand'
import { scope } from '../../app'
import { filesOf } from '../../engine/models'
import { useCatalog, useChain, useDoc, useLayout, useModels, useNeeds, useSession, useUi } from '../../hooks'
import { t } from '../../messages'
import { Segmented } from '../../ui/controls'
import { Sheet } from '../../ui/Sheet'
import { FlowView } from './FlowView'
import { flowOf, importedFlow, leavingOf } from './flow'
import { graphStore } from './state'

const m = t.graph

function Content() {
  const chain = useChain()
  const doc = useDoc(({ params, source, onAir, blend, mode, chain, pipelineId, extra }) => ({
    params,
    source,
    onAir,
    blend,
    mode,
    chain,
    pipelineId,
    graph: extra.graph,
  }))
  const { running, state } = useSession(({ running, state }) => ({ running, state }))
  const needs = useNeeds(chain)
  const missing = useModels(({ models }) =>
    needs.flatMap((need) => {
      const model = models[need.pipelineId]
      return model && filesOf(model, need).state !== 'complete' ? [need.pipelineId] : []
    }),
  )
  const pipelines = useCatalog((catalog) => catalog.pipelines)
  const window = useStore(scope.output.store, (output) => output.open)
  const recording = useStore(scope.recorder.store, ({ phase }) => phase === 'on')
  const active = !['idle', 'failed', 'stopping'].includes(state)
  const [wanted, setWanted] = useState<'runs' | 'file'>('runs')
  const imported = useMemo(() => importedFlow({ extra: { graph: doc.graph } }, chain), [doc.graph, chain])
  const flow = useMemo(
    () => flowOf({ doc, chain, running, active, missing, window, recording }),
    [doc, chain, running, active, missing, window, recording],
  )
  const shown = imported && wanted === 'file' ? 'file' : 'runs'
  const leaving = active ? leavingOf({ chain, running }).map((id) => pipelines[id]?.name ?? id) : []
  return (
    <div className="flex min-h-full flex-col" data-testid="graph">
      <div className="flex flex-wrap items-center gap-x-4 gap-y-2 px-4 pt-3">
        {imported && (
          <div className="w-56">
            <Segmented
              label={m.which}
              testId="graph-which"
              value={shown}
              options={[
                { value: 'runs', label: m.runs },
                { value: 'file', label: m.file },
              ]}
              onChange={(next) => setWanted(next as 'runs' | 'file')}
            />
          </div>
        )}
        <p className="text-12 text-fg3">
          {flow.nodes.length === 0 ? m.none : shown === 'file' ? m.introFile : m.intro}
        </p>
        {shown === 'runs' && leaving.length > 0 && (
          <p className="text-12 text-warn" data-testid="graph-leaving">
            {m.leaving(leaving.join(', '))}
          </p>
        )}
      </div>
      <section
        aria-label={m.title}
        tabIndex={0}
        className="min-h-0 flex-1 overflow-auto focus-visible:-outline-offset-2"
      >
        {shown === 'file' && imported ? (
          <FlowView flow={imported} label={m.file} live={false} />
        ) : (
          <FlowView flow={flow} label={m.runs} live={active} />
        )}
      </section>
    </div>
  )
}

/** What the picture passes, from where it comes to where it goes, over the lower half of the page. */
export function GraphDrawer() {
  const open = useStore(graphStore, (state) => state.open)
  const inspector = useUi((ui) => ui.rightWidth)
  // Beside the inspector, to which it leads.
  const style = useLayout() === 'wide' ? { right: inspector } : undefined
  const close = () => graphStore.setState({ open: false })
  return (
    <Sheet open={open} side="bottom" title={m.title} style={style} onClose={close}>
      <Content />
    </Sheet>
  )
}
