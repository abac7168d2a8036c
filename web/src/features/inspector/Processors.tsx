import { ArrowDown, ArrowUp, Plus, X } from 'lucide-react'
import { useMemo } from 'react'
import { addProcessor, moveProcessor, removeProcessor, type Side, setControl } from '../../doc/chain'
import { MAX_PROCESSORS } from '../../doc/model'
import { changeDoc } from '../../doc/store'
import { type ChainNode, canControl, chainOf, processorsFor, sectionsOf } from '../../engine/chain'
import { filesOf } from '../../engine/models'
import { useCatalog, useDoc, useMode, useModels, useNeeds, usePipeline } from '../../hooks'
import { t } from '../../messages'
import { IconButton } from '../../ui/Button'
import { Select, Switch } from '../../ui/controls'
import { FilesState } from '../models/parts'
import { FieldRow } from './FieldRow'
import { NodeContext } from './node'

function Files({ node }: { node: ChainNode }) {
  const [need] = useNeeds(useMemo(() => [node], [node]))
  const model = useModels(({ models }) => models[node.pipeline.id])
  return need && model ? <FilesState files={filesOf(model, need)} download={model.progress} /> : null
}

function Processor({ side, node, index, of }: { side: Side; node: ChainNode; index: number; of: number }) {
  const { id, name, description } = node.pipeline
  const fields = useMemo(() => sectionsOf(node).flatMap((section) => section.fields), [node])
  const touch = 'max-md:h-11 max-md:w-11'
  const move = (by: -1 | 1) => changeDoc(moveProcessor(side, id, by))
  return (
    <li
      className="flex flex-col gap-2.5 rounded-1 border border-line bg-bg2 p-2 pl-2.5"
      data-testid={`node-${node.id}`}
    >
      <div className="flex items-center gap-0.5">
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
          onClick={() => changeDoc(removeProcessor(side, id))}
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
            onChange={(id) => changeDoc(addProcessor(side, id))}
          />
        </div>
      </div>
      {nodes.length > 0 && (
        <ol className="m-0 flex list-none flex-col gap-2 p-0">
          {nodes.map((node, index) => (
            <Processor key={node.id} side={side} node={node} index={index} of={nodes.length} />
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
      <h2 className="panel-title">{t.processors.title}</h2>
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
            onChange={(next) => changeDoc(setControl(next))}
          />
        </div>
      )}
      {any && <SideList side="after" />}
    </div>
  )
}
