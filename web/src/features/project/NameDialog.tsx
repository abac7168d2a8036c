import { type FormEvent, useEffect, useRef, useState } from 'react'
import { cleanName, MAX_NAME } from '../../engine/projects'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { TextInput } from '../../ui/fields'
import { Sheet } from '../../ui/Sheet'
import { finishName } from './actions'
import { closeDialog, type NameTask } from './session'

const CONFIRM: Record<NameTask, string> = {
  saveAs: t.project.name.save,
  rename: t.project.name.rename_,
  duplicate: t.project.name.duplicate_,
}

export function NameDialog({ task, suggestion }: { task: NameTask; suggestion: string }) {
  const [name, setName] = useState(suggestion)
  const [taken, setTaken] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => {
    const frame = requestAnimationFrame(() => input.current?.select())
    return () => cancelAnimationFrame(frame)
  }, [])
  const clean = cleanName(name)
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (clean === '' || busy) return
    setBusy(true)
    const done = await finishName(task, clean, taken === clean)
    if (!done) {
      setTaken(clean)
      setBusy(false)
    }
  }
  const replace = taken === clean && taken !== null
  return (
    <Sheet open side="small" title={t.project.name[task]} onClose={closeDialog}>
      <form className="flex flex-col gap-3 p-4" data-testid="name-dialog" onSubmit={(event) => void submit(event)}>
        <div className="flex flex-col gap-1">
          <label htmlFor="project-name" className="text-12 text-fg2">
            {t.project.name.label}
          </label>
          <TextInput
            id="project-name"
            ref={input}
            className="h-9 w-full"
            value={name}
            maxLength={MAX_NAME}
            autoComplete="off"
            spellCheck={false}
            aria-describedby="project-name-hint"
            aria-invalid={replace}
            onChange={(event) => setName(event.target.value)}
          />
          <p id="project-name-hint" role="status" className={replace ? 'text-12 text-warn' : 'text-11 text-fg3'}>
            {replace ? t.project.name.taken(clean) : t.project.name.hint}
          </p>
        </div>
        <div className="flex justify-end gap-2">
          <Button size="m" variant="ghost" className="max-md:h-11" onClick={closeDialog}>
            {t.project.name.cancel}
          </Button>
          <Button
            type="submit"
            size="m"
            variant={replace ? 'danger' : 'primary'}
            className="max-md:h-11"
            data-testid="name-confirm"
            disabled={clean === '' || busy}
          >
            {replace ? t.project.name.replace : CONFIRM[task]}
          </Button>
        </div>
      </form>
    </Sheet>
  )
}
