import { ArrowDown, ArrowUp, GripVertical, Plus, Workflow, X } from 'lucide-react'
import { useMemo } from 'react'
import { addProcessor, moveProcessor, removeProcessor, type Side, setControl } from '../../doc/chain'
import { editDoc } from '../../doc/history'
import { MAX_PROCESSORS } from '../../doc/model'
import { type ChainNode, canControl, chainOf, processorsFor, sectionsOf } from '../../engine/chain'
import { filesOf } from '../../engine/models'
import { useCatalog, useDoc, useMode, useModels, useNeeds, usePipeline } from '../../hooks'
import { t } from '../../messages'
import { IconButton } from '../../ui/Button'
import { Select, Switch } from '../../ui/controls'
import { cx } from '../../ui/cx'
import { anchorOf } from '../graph/places'
import { toggleGraph } from '../graph/state'
import { FilesState } from '../models/parts'
import { FieldRow } from './FieldRow'
import { NodeContext } from './node'
import { type Reorder, useReorder } from './reorder'

function Files({ node }: { node: ChainNode }) {
  const [need] = useNeeds(useMemo(() => [node], [node]))
  const model = useModels(({ models }) => models[node.pipeline.id])
  return need && model ? <FilesState files={filesOf(model, need)} download={model.progress} /> : null
}

interface ProcessorProps {
  side: Side
  node: ChainNode
  index: number
  of: number
  reorder: Reorder
}

function Processor({ side, node, index, of, reorder }: ProcessorProps) {
  const { id, name, description } = node.pipeline
  const fields = useMemo(() => sectionsOf(node).flatMap((section) => section.fields), [node])
  const touch = 'max-md:h-11 max-md:w-11'
  const move = (by: -1 | 1) => editDoc(t.processors.step(name), moveProcessor(side, id, by))
  const { drag } = reorder
  // The place that the dragged one would take: above this one, or below it.
  const edge = drag && drag.to === index && drag.from !== index ? (drag.to < drag.from ? 'above' : 'below') : null
  return (
    <li
      className={cx(
        'flex flex-col gap-2.5 rounded-1 border border-line bg-bg2 p-2 pl-2.5',
        drag?.from === index && 'border-accent! opacity-60',
        edge === 'above' && 'shadow-[0_-3px_0_var(--color-accent)]',
        edge === 'below' && 'shadow-[0_3px_0_var(--color-accent)]',
      )}
      id={anchorOf(node.id)}
      tabIndex={-1}
      data-testid={`node-${node.id}`}
    >
      <div className="flex items-center gap-0.5">
        {of > 1 && (
          <button
            type="button"
            aria-label={t.drag.handle(name)}
            data-testid={`drag-${node.id}`}
            className="-ml-1.5 grid h-7 w-6 shrink-0 cursor-grab touch-none place-items-center rounded-1 text-fg3 hover:bg-bg3 hover:text-fg1 active:cursor-grabbing max-md:h-11 max-md:w-11"
            {...reorder.handle(index)}
          >
            <GripVertical size={14} aria-hidden />
          </button>
        )}
        <h4 className="mr-auto min-w-0 truncate text-12 font-semibold" title={description ?? name}>
          {name}
        </h4>
        {of > 1 && (
          <>
            <IconButton label={t.processors.up(name)} className={touch} disabled={index === 0} onClick={() => move(-1)}>
              <ArrowUp size={14} aria-hidden />
            </IconButton>
            <IconButton
              label={t.processors.down(name)}
              className={touch}
              disabled={index === of - 1}
              onClick={() => move(1)}
            >
              <ArrowDown size={14} aria-hidden />
            </IconButton>
          </>
        )}
        <IconButton
          label={t.processors.remove(name)}
          className={touch}
          onClick={() => editDoc(t.processors.remove(name), removeProcessor(side, id))}
        >
          <X size={14} aria-hidden />
        </IconButton>
      </div>
      <Files node={node} />
      {fields.length > 0 && (
        <NodeContext value={node}>
          <div className="flex flex-col gap-3 pb-1">
            {fields.map((field) => (
              <FieldRow key={field.key} field={field} />
            ))}
          </div>
        </NodeContext>
      )}
    </li>
  )
}

function SideList({ side }: { side: Side }) {
  const pipelines = useCatalog((catalog) => catalog.pipelines)
  const pipeline = usePipeline()
  const models = useModels(({ models }) => models)
  const chain = useDoc((doc) => doc.chain)
  // Shown with their parameters even while there is no input for them.
  const nodes = useMemo(
    () => (pipeline ? chainOf({ mode: 'video', chain }, pipeline, pipelines).filter(({ role }) => role === side) : []),
    [pipeline, pipelines, chain, side],
  )
  const offered = processorsFor(side, pipelines)
    .filter(({ id }) => !chain[side].includes(id))
    .map((entry) => {
      const model = models[entry.id]
      const need = { pipelineId: entry.id, vaeType: '', vace: false, modelSize: 'small' }
      return {
        value: entry.id,
        label: entry.name,
        note: model && <FilesState files={filesOf(model, need)} download={model.progress} />,
      }
    })
  const label = t.processors[side]
  const reorder = useReorder((from, by) => {
    const id = nodes[from]?.pipeline.id
    if (id) editDoc(t.drag.order, moveProcessor(side, id, by))
  })
  return (
    <section aria-label={label} data-testid={`chain-${side}`} className="flex flex-col gap-2">
      <div className="flex items-center gap-2">
        <h3 className="mr-auto text-12 text-fg1">{label}</h3>
        <div className="w-28">
          <Select
            label={t.processors.add(label)}
            testId={`add-${side}`}
            icon={<Plus size={13} className="shrink-0 text-fg3" aria-hidden />}
            placeholder={t.processors.addShort}
            value=""
            disabled={offered.length === 0 || nodes.length >= MAX_PROCESSORS}
            options={offered}
            onChange={(id) => editDoc(t.processors.added(pipelines[id]?.name ?? id), addProcessor(side, id))}
          />
        </div>
      </div>
      {nodes.length > 0 && (
        <ol ref={reorder.list} className="m-0 flex list-none flex-col gap-2 p-0">
          {nodes.map((node, index) => (
            <Processor key={node.id} side={side} node={node} index={index} of={nodes.length} reorder={reorder} />
          ))}
        </ol>
      )}
    </section>
  )
}

/** What the picture passes on its way into the pipeline and out of it. Every change waits for a reload, but parameters. */
export function Processors() {
  const pipeline = usePipeline()
  const mode = useMode()
  const pipelines = useCatalog((catalog) => catalog.pipelines)
  const { control, waiting } = useDoc(({ chain }) => ({ control: chain.control, waiting: chain.before.length > 0 }))
  if (!pipeline) return null
  const any = processorsFor('before', pipelines).length + processorsFor('after', pipelines).length > 0
  const guides = canControl(pipeline)
  if (!any && !guides) return null
  const video = mode === 'video'
  return (
    <div className="flex flex-col gap-3 px-3 pb-3">
      <div className="-my-1 flex items-center">
        <h2 className="panel-title mr-auto">{t.processors.title}</h2>
        <IconButton
          label={t.graph.open}
          shortcut="G"
          data-testid="open-graph"
          className="max-md:h-11 max-md:w-11"
          onClick={toggleGraph}
        >
          <Workflow size={14} aria-hidden />
        </IconButton>
      </div>
      {any && (video || waiting) && (
        <div className="flex flex-col gap-1.5">
          <SideList side="before" />
          {!video && <p className="text-11 text-warn">{t.processors.noInput}</p>}
        </div>
      )}
      {guides && video && (
        <div className="flex items-center gap-3">
          <div className="mr-auto">
            <p className="text-12 text-fg1">{t.processors.control}</p>
            <p id="control-hint" className="text-11 text-fg3">
              {t.processors.controlHint}
            </p>
          </div>
          <Switch
            label={t.processors.control}
            testId="use-control"
            describedBy="control-hint"
            checked={control}
            onChange={(next) => editDoc(t.processors.control, setControl(next))}
          />
        </div>
      )}
      {any && <SideList side="after" />}
    </div>
  )
}
