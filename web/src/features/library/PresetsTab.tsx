import { BookmarkCheck, Check, Download, FileUp, Pencil, RefreshCw, SlidersHorizontal, Trash2 } from 'lucide-react'
import { type FormEvent, useEffect, useMemo, useState } from 'react'
import { useStore } from 'zustand'
import type { Params } from '../../api/types'
import { notify, report } from '../../app'
import { deepEqual } from '../../doc/equal'
import { editDoc, undo } from '../../doc/history'
import { changePresets, loadPresets, presetStore } from '../../doc/presetStore'
import {
  addPresets,
  applyPreset,
  MAX_PRESET_NAME,
  MAX_PRESETS,
  makePreset,
  type Preset,
  presentValues,
  presetFile,
  readPresets,
  removePreset,
  renamePreset,
  updatePreset,
} from '../../doc/presets'
import { saveAs, slug } from '../../engine/capture'
import { sectionsOf } from '../../engine/chain'
import { useCatalog, useChain, useDoc } from '../../hooks'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { TextInput } from '../../ui/fields'
import { Empty, FileButton } from './parts'

const texts = t.library.presets

async function change(next: Parameters<typeof changePresets>[0], done?: string): Promise<void> {
  if (!(await changePresets(next))) report(texts.failed)
  else if (done) notify(done)
}

function remove(preset: Preset): void {
  const undo = () => void change(addPresets([preset]))
  void change(removePreset(preset.id)).then(() =>
    notify(t.library.removed(preset.name), { label: t.library.undo, run: undo }),
  )
}

function exportFile(presets: readonly Preset[], name: string): void {
  const url = URL.createObjectURL(new Blob([presetFile(presets)], { type: 'application/json' }))
  saveAs(url, `${slug(name)}.scope-presets.json`)
  setTimeout(() => URL.revokeObjectURL(url), 30_000)
}

async function importFile(file: File | undefined): Promise<void> {
  if (!file) return
  const found = file.size < 4_000_000 ? readPresets(await file.text(), Date.now()) : null
  if (found) await change(addPresets(found), texts.imported(found.length))
  else report(texts.notPresets)
}

function apply(preset: Preset): void {
  editDoc(texts.step(preset.name), applyPreset(preset))
  notify(texts.applied(preset.name), { label: t.library.undo, run: () => void undo() })
}

/** Null where the pipeline that the preset is for is another one. */
function Row({ preset, values, pipeline }: { preset: Preset; values: Params | null; pipeline: string | null }) {
  const [name, setName] = useState<string | null>(null)
  const same = values !== null && deepEqual(values, preset.params)
  const touch = 'max-md:h-11 max-md:w-11'
  const rename = (event: FormEvent) => {
    event.preventDefault()
    if (name !== null) void change(renamePreset(preset.id, name))
    setName(null)
  }
  return (
    <li
      data-testid="preset"
      data-state={same ? 'current' : 'other'}
      className={cx(
        'flex flex-wrap items-center gap-1.5 rounded-1 border bg-bg2 p-2 pl-2.5',
        same ? 'border-ok/60' : 'border-line',
      )}
    >
      {name === null ? (
        <div className="mr-auto min-w-0 flex-1">
          <p className="truncate text-13 font-medium">{preset.name}</p>
          <p className="text-11 text-fg3">
            {pipeline ? `${pipeline} · ` : ''}
            {texts.values(Object.keys(preset.params).length)}
            {same && <span className="text-ok"> · {texts.current}</span>}
          </p>
        </div>
      ) : (
        <form onSubmit={rename} className="mr-auto flex min-w-0 flex-1 gap-1.5">
          <TextInput
            aria-label={texts.rename(preset.name)}
            autoFocus
            className="min-w-0 flex-1"
            maxLength={MAX_PRESET_NAME}
            value={name}
            onChange={(event) => setName(event.target.value)}
            onBlur={rename}
            onKeyDown={(event) => {
              if (event.key !== 'Escape') return
              event.stopPropagation()
              setName(null)
            }}
          />
        </form>
      )}
      <Button
        variant={same ? 'ghost' : 'primary'}
        className="max-md:h-11"
        data-testid="apply-preset"
        aria-label={pipeline ? texts.switchTo(preset.name, pipeline) : texts.applyTo(preset.name)}
        disabled={same}
        onClick={() => apply(preset)}
      >
        {same && <Check size={14} aria-hidden />}
        {texts.apply}
      </Button>
      {values && (
        <IconButton
          label={texts.update(preset.name)}
          className={touch}
          disabled={same}
          onClick={() => void change(updatePreset(preset.id, values, Date.now()), texts.updated(preset.name))}
        >
          <RefreshCw size={14} aria-hidden />
        </IconButton>
      )}
      <IconButton label={texts.rename(preset.name)} className={touch} onClick={() => setName(preset.name)}>
        <Pencil size={14} aria-hidden />
      </IconButton>
      <IconButton
        label={texts.remove(preset.name)}
        data-testid="delete-preset"
        className={touch}
        onClick={() => remove(preset)}
      >
        <Trash2 size={14} aria-hidden />
      </IconButton>
    </li>
  )
}

export function PresetsTab() {
  const { presets, known } = useStore(presetStore)
  const pipelines = useCatalog((catalog) => catalog.pipelines)
  const node = useChain().find(({ role }) => role === 'main')
  const own = useDoc((doc) => (node ? doc.params[node.id] : undefined))
  const [name, setName] = useState('')
  useEffect(() => void loadPresets(), [])
  const values = useMemo(
    () => (node ? presentValues(sectionsOf(node), node.pipeline, node.mode, own ?? {}) : null),
    [node, own],
  )
  const mine = presets.filter(({ pipelineId }) => pipelineId === node?.pipeline.id)
  const others = presets.filter(({ pipelineId }) => pipelineId !== node?.pipeline.id && pipelines[pipelineId])
  const full = presets.length >= MAX_PRESETS
  const save = (event: FormEvent) => {
    event.preventDefault()
    const preset = node && values ? makePreset(name, node.pipeline.id, values, Date.now()) : null
    if (!preset || full) return
    setName('')
    void change(addPresets([preset]), texts.saved(preset.name))
  }
  return (
    <>
      <div className="flex shrink-0 flex-col gap-2 border-b border-line p-3">
        <form onSubmit={save} className="flex gap-2">
          <TextInput
            aria-label={texts.name}
            placeholder={texts.placeholder}
            data-testid="preset-name"
            className="min-w-0 flex-1"
            maxLength={MAX_PRESET_NAME}
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
          <Button
            type="submit"
            variant="primary"
            className="max-md:h-11"
            data-testid="save-preset"
            disabled={name.trim() === '' || !node || full}
          >
            <BookmarkCheck size={14} aria-hidden />
            {texts.save}
          </Button>
        </form>
        <div className="flex flex-wrap gap-2">
          <FileButton
            label={texts.import}
            accept=".json,application/json"
            testId="import-presets"
            icon={FileUp}
            onFiles={([file]) => void importFile(file)}
          />
          <Button
            variant="outline"
            className="max-md:h-11"
            data-testid="export-presets"
            disabled={presets.length === 0}
            onClick={() => exportFile(presets, 'scope')}
          >
            <Download size={14} aria-hidden />
            {texts.exportAll}
          </Button>
        </div>
        {full && <p className="text-11 text-warn">{texts.full(MAX_PRESETS)}</p>}
      </div>
      {known && mine.length + others.length === 0 && (
        <Empty icon={SlidersHorizontal} title={texts.empty}>
          {texts.emptyHint}
        </Empty>
      )}
      <div className="min-h-0 flex-1 overflow-y-auto">
        {node && mine.length > 0 && (
          <ul aria-label={texts.list(node.pipeline.name)} className="m-0 flex list-none flex-col gap-2 p-3">
            {mine.map((preset) => (
              <Row key={preset.id} preset={preset} values={values} pipeline={null} />
            ))}
          </ul>
        )}
        {others.length > 0 && (
          <section aria-label={texts.others} className="border-t border-line p-3">
            <h3 className="panel-title mb-2">{texts.others}</h3>
            <ul className="m-0 flex list-none flex-col gap-2 p-0">
              {others.map((preset) => (
                <Row
                  key={preset.id}
                  preset={preset}
                  values={null}
                  pipeline={pipelines[preset.pipelineId]?.name ?? preset.pipelineId}
                />
              ))}
            </ul>
          </section>
        )}
      </div>
    </>
  )
}
