import { Download, RotateCcw } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import { useStore } from 'zustand'
import type { Point } from '../../doc/vault'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { TextInput } from '../../ui/fields'
import { Sheet } from '../../ui/Sheet'
import { goBackTo, removeProject, resolveConflict } from './actions'
import { type ExportFormat, exportFile, fileNameFor } from './files'
import { ImportDialog, ImportProblem } from './ImportDialog'
import { NameDialog } from './NameDialog'
import { OpenDialog } from './OpenDialog'
import { autosave, closeDialog, dialogStore } from './session'

function RemoveDialog({ name, where }: { name: string; where: 'server' | 'browser' }) {
  return (
    <Sheet open side="small" title={t.project.remove.title(name)} onClose={closeDialog}>
      <div className="flex flex-col gap-4 p-4" data-testid="remove-dialog">
        <p className="text-13 text-fg2">{t.project.remove.body}</p>
        <div className="flex justify-end gap-2">
          <Button size="m" variant="ghost" className="max-md:h-11" onClick={closeDialog}>
            {t.project.name.cancel}
          </Button>
          <Button
            size="m"
            variant="danger"
            className="max-md:h-11"
            data-testid="remove-confirm"
            onClick={() => void removeProject(name, where)}
          >
            {t.project.remove.confirm}
          </Button>
        </div>
      </div>
    </Sheet>
  )
}

function ConflictDialog({ name, copy }: { name: string; copy: string }) {
  const { conflict } = t.project
  const choices = [
    { id: 'both', label: conflict.both, hint: conflict.bothHint(copy), variant: 'primary' },
    { id: 'reload', label: conflict.reload, hint: conflict.reloadHint, variant: 'outline' },
    { id: 'overwrite', label: conflict.overwrite, hint: conflict.overwriteHint, variant: 'outline' },
  ] as const
  return (
    <Sheet open side="small" title={conflict.title(name)} description={conflict.body} onClose={closeDialog}>
      <ul className="m-0 flex list-none flex-col gap-2 p-4" data-testid="conflict-dialog">
        {choices.map(({ id, label, hint, variant }) => (
          <li key={id} className="flex items-center gap-3">
            <Button
              size="m"
              variant={variant}
              className="w-28 max-md:h-11"
              data-testid={`conflict-${id}`}
              aria-describedby={`conflict-${id}-hint`}
              onClick={() => void resolveConflict(id, copy)}
            >
              {label}
            </Button>
            <span id={`conflict-${id}-hint`} className="text-12 text-fg2">
              {hint}
            </span>
          </li>
        ))}
      </ul>
    </Sheet>
  )
}

const stamp = (at: number) => new Date(at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' })

function VersionsDialog() {
  const [points, setPoints] = useState<Point[] | null>(null)
  useEffect(() => {
    let here = true
    void autosave.points().then((found) => here && setPoints(found))
    return () => {
      here = false
    }
  }, [])
  const { versions } = t.project
  return (
    <Sheet open side="center" title={versions.title} description={versions.intro} onClose={closeDialog}>
      <div className="p-4" data-testid="versions-dialog">
        {points?.length === 0 && <p className="py-6 text-center text-12 text-fg2">{versions.none}</p>}
        <ul className="m-0 flex list-none flex-col p-0">
          {points?.map(({ id, at, reason, name, takes }) => (
            <li key={id} className="flex min-h-11 items-center gap-3 border-b border-line/60 py-1.5">
              <span className="flex min-w-0 flex-1 flex-wrap items-baseline gap-x-3">
                <span className="num text-12 text-fg1">{stamp(at)}</span>
                <span className="text-12 text-fg2">{versions.reasons[reason]}</span>
                <span className="min-w-0 truncate text-11 text-fg3">
                  {[name, versions.takes(takes)].filter(Boolean).join(' · ')}
                </span>
              </span>
              <Button
                variant="outline"
                className="max-md:h-11"
                data-testid="version-restore"
                aria-label={`${versions.restore}: ${stamp(at)}`}
                onClick={() => void goBackTo(id, at)}
              >
                <RotateCcw size={13} aria-hidden />
                {versions.restore}
              </Button>
            </li>
          ))}
        </ul>
      </div>
    </Sheet>
  )
}

const FORMATS: readonly ExportFormat[] = ['timeline', 'workflow', 'project']

function ExportDialog() {
  return (
    <Sheet open side="small" title={t.project.export.title} onClose={closeDialog}>
      <ul className="m-0 flex list-none flex-col p-4" data-testid="export-dialog">
        {FORMATS.map((format) => {
          const { name, hint } = t.project.export.formats[format]
          return (
            <li
              key={format}
              className="flex items-center gap-4 border-b border-line/60 py-3 first:pt-0 last:border-0 last:pb-0"
            >
              <span className="min-w-0 flex-1">
                <span className="block text-13 font-medium">{name}</span>
                <span className="block text-12 text-fg2">{hint}</span>
                <span className="num mt-0.5 block text-11 [overflow-wrap:anywhere] text-fg3">
                  {fileNameFor(format)}
                </span>
              </span>
              <Button
                variant="outline"
                size="m"
                className="max-md:h-11"
                data-testid={`export-${format}`}
                aria-label={`${t.project.export.download}: ${name}`}
                onClick={() => exportFile(format)}
              >
                <Download size={14} aria-hidden />
                {t.project.export.download}
              </Button>
            </li>
          )
        })}
      </ul>
    </Sheet>
  )
}

function LinkDialog({ address }: { address: string }) {
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => {
    const frame = requestAnimationFrame(() => input.current?.select())
    return () => cancelAnimationFrame(frame)
  }, [])
  return (
    <Sheet open side="small" title={t.project.link.title} description={t.project.link.hint} onClose={closeDialog}>
      <div className="p-4" data-testid="link-dialog">
        <TextInput ref={input} readOnly aria-label={t.project.link.label} className="num h-9 w-full" value={address} />
      </div>
    </Sheet>
  )
}

/** The one dialog about projects and files that is open, if any. */
export function ProjectDialogs() {
  const { dialog } = useStore(dialogStore)
  switch (dialog?.kind) {
    case 'open':
      return <OpenDialog />
    case 'name':
      return <NameDialog key={dialog.task} task={dialog.task} suggestion={dialog.suggestion} />
    case 'remove':
      return <RemoveDialog name={dialog.name} where={dialog.where} />
    case 'conflict':
      return <ConflictDialog name={dialog.name} copy={dialog.copy} />
    case 'versions':
      return <VersionsDialog />
    case 'import':
      return <ImportDialog key={dialog.prepared.name} prepared={dialog.prepared} />
    case 'problem':
      return <ImportProblem name={dialog.name} problem={dialog.problem} />
    case 'export':
      return <ExportDialog />
    case 'link':
      return <LinkDialog address={dialog.address} />
    default:
      return null
  }
}
