import { HardDriveDownload } from 'lucide-react'
import { useMemo } from 'react'
import { editDoc } from '../../doc/history'
import { mainPipelines } from '../../engine/catalog'
import { mainNode, needOf } from '../../engine/chain'
import { filesOf } from '../../engine/models'
import { useCatalog, useChain, useDoc, useModels, useNeeds, usePipeline } from '../../hooks'
import { t } from '../../messages'
import { IconButton } from '../../ui/Button'
import { Select } from '../../ui/controls'
import { openModels } from '../models/open'
import { FilesState } from '../models/parts'

/** Chooses what makes the picture. While live the choice waits in the pending bar, like every change that reloads. */
export function PipelineSelect() {
  const pipelines = useCatalog((catalog) => catalog.pipelines)
  const models = useModels(({ models }) => models)
  const doc = useDoc(({ mode, chain, params }) => ({ mode, chain, params }))
  const pipeline = usePipeline()
  const options = useMemo(
    () =>
      mainPipelines(pipelines).map((entry) => {
        const [need, model] = [needOf(doc, mainNode(doc, entry)), models[entry.id]]
        return {
          value: entry.id,
          label: entry.name,
          hint: entry.plugin_name
            ? t.inspector.plugin(entry.plugin_name)
            : entry.estimated_vram_gb
              ? t.inspector.vram(entry.estimated_vram_gb)
              : undefined,
          note: need && model && <FilesState files={filesOf(model, need)} download={model.progress} />,
        }
      }),
    [pipelines, models, doc],
  )
  return (
    <div className="flex items-center gap-1.5">
      <Select
        label={t.inspector.pipeline}
        testId="pipeline-select"
        className="h-9 text-13 font-medium"
        placeholder={t.inspector.noPipeline}
        value={pipeline?.id ?? ''}
        options={options}
        onChange={(id) => editDoc(t.project.edits.pipeline, (doc) => ({ ...doc, pipelineId: id }))}
      />
      {Object.keys(models).length > 0 && (
        <IconButton
          label={t.models.title}
          size="m"
          className="max-md:h-11 max-md:w-11"
          data-testid="open-models"
          onClick={openModels}
        >
          <HardDriveDownload size={16} aria-hidden />
        </IconButton>
      )}
    </div>
  )
}

/** How the files of the chosen pipeline are, where it needs any. */
export function PipelineFiles() {
  const chain = useChain()
  const main = useMemo(() => chain.filter(({ role }) => role === 'main'), [chain])
  const [need] = useNeeds(main)
  const model = useModels(({ models }) => (need ? models[need.pipelineId] : undefined))
  return need && model ? <FilesState files={filesOf(model, need)} download={model.progress} /> : null
}
