import { useMemo } from 'react'
import { changeDoc } from '../../doc/store'
import { mainPipelines } from '../../engine/catalog'
import { useCatalog, usePipeline } from '../../hooks'
import { t } from '../../messages'
import { Select } from '../../ui/controls'

/** Chooses what makes the picture. While live the choice waits in the pending bar, like every change that reloads. */
export function PipelineSelect() {
  const pipelines = useCatalog((catalog) => catalog.pipelines)
  const pipeline = usePipeline()
  const options = useMemo(
    () =>
      mainPipelines(pipelines).map((entry) => ({
        value: entry.id,
        label: entry.name,
        hint: entry.plugin_name
          ? t.inspector.plugin(entry.plugin_name)
          : entry.estimated_vram_gb
            ? t.inspector.vram(entry.estimated_vram_gb)
            : undefined,
      })),
    [pipelines],
  )
  return (
    <Select
      label={t.inspector.pipeline}
      testId="pipeline-select"
      className="h-9 text-13 font-medium"
      placeholder={t.inspector.noPipeline}
      value={pipeline?.id ?? ''}
      options={options}
      onChange={(id) => changeDoc((doc) => ({ ...doc, pipelineId: id }))}
    />
  )
}
