import { ArrowRight, CircleAlert, TriangleAlert } from 'lucide-react'
import { useState } from 'react'
import { scope } from '../../app'
import type { FileProblem } from '../../doc/files/json'
import { docStore } from '../../doc/store'
import { useCatalog, useSession } from '../../hooks'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { Switch } from '../../ui/controls'
import { cx } from '../../ui/cx'
import { minutes } from '../../ui/format'
import { Sheet } from '../../ui/Sheet'
import { pickFile } from './entry'
import { applyImport } from './files'
import { type Facts, factsOf, type Missing, type Prepared } from './prepare'
import { closeDialog } from './session'

const list = (names: readonly string[]) => names.join(', ') || t.project.import.nothing

/** What stands in the table: only what is there, or will be. */
function rowsOf(before: Facts, after: Facts): { label: string; before: string; after: string }[] {
  const { rows, nothing } = t.project.import
  const row = (label: string, show: (facts: Facts) => string) => ({ label, before: show(before), after: show(after) })
  const either = (has: (facts: Facts) => boolean) => has(before) || has(after)
  return [
    row(rows.takes, ({ takes }) => String(takes)),
    row(rows.duration, ({ durationMs }) => minutes(durationMs)),
    row(rows.pipeline, ({ pipeline }) => pipeline ?? nothing),
    row(rows.mode, ({ mode }) => t.source[mode]),
    ...(either(({ size }) => size !== null) ? [row(rows.size, ({ size }) => size ?? '–')] : []),
    row(rows.parameters, ({ parameters }) => String(parameters)),
    ...(either((facts) => facts.before.length > 0) ? [row(rows.before, (facts) => list(facts.before))] : []),
    ...(either((facts) => facts.after.length > 0) ? [row(rows.after, (facts) => list(facts.after))] : []),
    ...(either(({ loras }) => loras.length > 0) ? [row(rows.loras, ({ loras }) => list(loras))] : []),
    ...(either(({ markers }) => markers > 0) ? [row(rows.markers, ({ markers }) => String(markers))] : []),
  ]
}

function Table({ before, after }: { before: Facts; after: Facts }) {
  return (
    <table className="w-full border-collapse text-12" data-testid="import-summary">
      <thead>
        <tr className="text-left text-11 text-fg3">
          <td className="w-28" />
          <th scope="col" className="py-1 font-semibold">
            {t.project.import.now}
          </th>
          <td className="w-6" />
          <th scope="col" className="py-1 font-semibold">
            {t.project.import.after}
          </th>
        </tr>
      </thead>
      <tbody>
        {rowsOf(before, after).map((row) => (
          <tr key={row.label} className="border-t border-line/60">
            <th scope="row" className="py-1.5 pr-3 text-left font-normal text-fg2">
              {row.label}
            </th>
            <td className="py-1.5 [overflow-wrap:anywhere] text-fg3">{row.before}</td>
            <td className="py-1.5 text-fg3">
              <ArrowRight size={12} aria-hidden />
            </td>
            <td
              className={cx(
                'py-1.5 [overflow-wrap:anywhere]',
                row.before === row.after ? 'text-fg3' : 'font-medium text-fg1',
              )}
            >
              {row.after}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

const MISSING: Record<Missing['kind'], (name: string) => string> = {
  pipeline: t.project.import.missingPipeline,
  processor: t.project.import.missingProcessor,
  unplaced: t.project.import.unplaced,
  lora: t.project.import.missingLora,
}

function Remarks({ prepared, settings }: { prepared: Prepared; settings: boolean }) {
  const { missing, dropped, adjusted } = prepared
  const warnings = settings ? missing.map(({ kind, name }) => MISSING[kind](name)) : []
  const notes = [
    ...(dropped > 0 ? [t.project.import.dropped(dropped)] : []),
    ...(adjusted > 0 ? [t.project.import.adjusted(adjusted)] : []),
  ]
  if (warnings.length + notes.length === 0) return null
  return (
    <ul className="m-0 flex list-none flex-col gap-1.5 p-0 text-12" data-testid="import-remarks">
      {warnings.map((text) => (
        <li key={text} className="flex gap-2 text-warn">
          <TriangleAlert size={14} className="mt-0.5 shrink-0" aria-hidden />
          {text}
        </li>
      ))}
      {notes.map((text) => (
        <li key={text} className="pl-5.5 text-fg2">
          {text}
        </li>
      ))}
    </ul>
  )
}

export function ImportDialog({ prepared }: { prepared: Prepared }) {
  const pipelines = useCatalog((catalog) => catalog.pipelines)
  const active = useSession(({ state }) => state !== 'idle' && state !== 'failed')
  const [settings, setSettings] = useState(true)
  const doc = docStore.getState()
  const now = scope.transport.time()
  const kind = t.project.import.kinds[prepared.kind](prepared.version)
  return (
    <Sheet open side="small" title={t.project.import.title} onClose={closeDialog}>
      <div className="flex flex-col gap-4 p-4" data-testid="import-dialog">
        <div>
          <p className="text-13 font-medium [overflow-wrap:anywhere]">{t.project.import.from(prepared.name, kind)}</p>
          <p className="mt-0.5 text-12 text-fg2">
            {prepared.takes ? t.project.import.replaces : t.project.import.stays}
          </p>
        </div>
        <Table before={factsOf(doc, pipelines, now)} after={factsOf(prepared.apply(settings)(doc), pipelines, now)} />
        {prepared.optional && (
          <div className="flex items-center justify-between gap-3 text-12">
            <span aria-hidden>{t.project.import.settings}</span>
            <Switch
              label={t.project.import.settings}
              testId="import-settings"
              checked={settings}
              onChange={setSettings}
            />
          </div>
        )}
        <Remarks prepared={prepared} settings={settings} />
        {active && <p className="text-12 text-fg2">{t.project.import.live}</p>}
        <div className="flex justify-end gap-2">
          <Button size="m" variant="ghost" className="max-md:h-11" onClick={closeDialog}>
            {t.project.import.cancel}
          </Button>
          <Button
            size="m"
            variant="primary"
            className="max-md:h-11"
            data-testid="import-confirm"
            onClick={() => applyImport(prepared, settings)}
          >
            {t.project.import.confirm}
          </Button>
        </div>
      </div>
    </Sheet>
  )
}

export function ImportProblem({ name, problem }: { name: string; problem: FileProblem }) {
  return (
    <Sheet open side="small" title={t.project.import.title} onClose={closeDialog}>
      <div className="flex flex-col gap-4 p-4" data-testid="import-problem">
        <div role="alert" className="flex gap-3">
          <CircleAlert size={20} className="mt-0.5 shrink-0 text-live" aria-hidden />
          <div className="min-w-0">
            <p className="text-14 font-semibold [overflow-wrap:anywhere]">{t.project.import.failedTitle(name)}</p>
            <p className="mt-1 text-13 [overflow-wrap:anywhere] text-fg2">{t.project.import.problem(problem)}</p>
            <p className="mt-1 text-13 text-fg2">{t.project.import.unchanged}</p>
          </div>
        </div>
        <div className="flex justify-end gap-2">
          <Button size="m" variant="ghost" className="max-md:h-11" onClick={closeDialog}>
            {t.common.close}
          </Button>
          <Button size="m" variant="primary" className="max-md:h-11" onClick={pickFile}>
            {t.project.import.another}
          </Button>
        </div>
      </div>
    </Sheet>
  )
}
