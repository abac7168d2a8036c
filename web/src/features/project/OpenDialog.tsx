import { FileJson, LoaderCircle, Trash2 } from 'lucide-react'
import { useEffect, useState } from 'react'
import { useStore } from 'zustand'
import { bindingStore } from '../../doc/store'
import type { ProjectList } from '../../engine/projects'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { TextInput } from '../../ui/fields'
import { bytes } from '../../ui/format'
import { Sheet } from '../../ui/Sheet'
import { openProject } from './actions'
import { pickFile } from './entry'
import { closeDialog, openDialog, projects } from './session'

function whenText(modified: string): string {
  const at = Date.parse(modified)
  return Number.isFinite(at) ? new Date(at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' }) : ''
}

export function OpenDialog() {
  const { binding } = useStore(bindingStore)
  const [list, setList] = useState<ProjectList | null>(null)
  const [problem, setProblem] = useState<string | null>(null)
  const [search, setSearch] = useState('')
  useEffect(() => {
    let here = true
    projects.list().then(
      (found) => here && setList(found),
      (cause: unknown) => here && setProblem(cause instanceof Error ? cause.message : String(cause)),
    )
    return () => {
      here = false
    }
  }, [])
  const shown = (list?.projects ?? []).filter(({ name }) => name.toLowerCase().includes(search.trim().toLowerCase()))
  return (
    <Sheet open side="center" title={t.project.open.title} onClose={closeDialog}>
      <div className="flex flex-col gap-3 p-4" data-testid="open-dialog">
        <div className="flex gap-2">
          <TextInput
            className="h-9 flex-1"
            type="search"
            aria-label={t.project.open.search}
            placeholder={t.project.open.search}
            value={search}
            onChange={(event) => setSearch(event.target.value)}
          />
          <Button size="m" variant="outline" className="max-md:h-11" onClick={pickFile}>
            <FileJson size={15} aria-hidden />
            {t.project.open.file}
          </Button>
        </div>
        {problem && (
          <p role="alert" className="text-12 text-live">
            {t.project.failed(problem)}
          </p>
        )}
        {!list && !problem && (
          <p role="status" className="flex items-center gap-2 py-6 text-12 text-fg2">
            <LoaderCircle size={15} className="animate-spin" aria-hidden />
            {t.project.open.loading}
          </p>
        )}
        {list?.where === 'browser' && <p className="text-12 text-fg2">{t.project.open.inBrowser}</p>}
        {list && shown.length === 0 && (
          <p className="py-6 text-center text-12 text-fg2">
            {list.projects.length === 0 ? t.project.open.none : t.project.open.noMatch}
          </p>
        )}
        {list && shown.length > 0 && (
          <ul className="m-0 flex list-none flex-col gap-1 p-0">
            {shown.map(({ name, modified, bytes: size }) => (
              <li key={name} className="flex items-center gap-1 rounded-1 hover:bg-bg2">
                <button
                  type="button"
                  data-testid="project-row"
                  onClick={() => void openProject(name, list.where)}
                  className="flex min-h-11 min-w-0 flex-1 flex-wrap items-center gap-x-3 rounded-1 px-3 py-2 text-left"
                >
                  <span className="min-w-0 flex-1 truncate text-13 font-medium text-fg1 max-md:basis-full">{name}</span>
                  {binding?.name === name && <span className="text-11 text-accent">{t.project.open.current}</span>}
                  <span className="num shrink-0 text-11 text-fg3">{whenText(modified)}</span>
                  <span className="num w-14 shrink-0 text-right text-11 text-fg3 max-md:hidden">{bytes(size)}</span>
                </button>
                <IconButton
                  label={t.project.open.remove(name)}
                  size="m"
                  className="max-md:h-11 max-md:w-11"
                  onClick={() => openDialog({ kind: 'remove', name, where: list.where })}
                >
                  <Trash2 size={15} aria-hidden />
                </IconButton>
              </li>
            ))}
          </ul>
        )}
      </div>
    </Sheet>
  )
}
