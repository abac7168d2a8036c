import { CircleAlert, type LucideIcon, RotateCw, Search, X } from 'lucide-react'
import { type DragEvent, type ReactNode, useEffect, useRef, useState } from 'react'
import { useStore } from 'zustand'
import type { Shelf, Upload } from '../../engine/shelf'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { TextInput } from '../../ui/fields'
import { bytes } from '../../ui/format'

export function SearchBox({ label, value, onChange }: { label: string; value: string; onChange(value: string): void }) {
  return (
    <div className="relative min-w-36 flex-1">
      <Search size={14} className="absolute top-1/2 left-2 -translate-y-1/2 text-fg3" aria-hidden />
      <TextInput
        type="search"
        aria-label={label}
        placeholder={label}
        className="w-full pl-7"
        value={value}
        onChange={(event) => onChange(event.target.value)}
      />
    </div>
  )
}

/** A file button: the chooser of the system behind a button of ours. */
export function FileButton({
  label,
  accept,
  multiple = false,
  testId,
  icon: Icon,
  variant = 'outline',
  onFiles,
}: {
  label: string
  accept: string
  multiple?: boolean
  testId: string
  icon: LucideIcon
  variant?: 'outline' | 'primary'
  onFiles(files: File[]): void
}) {
  const picker = useRef<HTMLInputElement>(null)
  return (
    <>
      <Button variant={variant} className="max-md:h-11" onClick={() => picker.current?.click()}>
        <Icon size={14} aria-hidden />
        {label}
      </Button>
      <input
        ref={picker}
        type="file"
        hidden
        multiple={multiple}
        accept={accept}
        data-testid={testId}
        aria-label={label}
        onChange={(event) => {
          onFiles([...(event.target.files ?? [])])
          event.target.value = ''
        }}
      />
    </>
  )
}

const hasFiles = (event: DragEvent) => event.dataTransfer.types.includes('Files')

/** Takes files that are dropped on it, before the page does. */
export function DropArea({
  hint,
  className,
  children,
  onFiles,
}: {
  hint: string
  className?: string
  children: ReactNode
  onFiles(files: File[]): void
}) {
  const [over, setOver] = useState(false)
  const enter = (event: DragEvent) => {
    if (!hasFiles(event)) return
    event.preventDefault()
    setOver(true)
  }
  return (
    <section
      aria-label={hint}
      data-takes-files=""
      className={cx('relative flex min-h-0 flex-1 flex-col', className)}
      onDragEnter={enter}
      onDragOver={enter}
      onDragLeave={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false)
      }}
      onDrop={(event) => {
        if (!hasFiles(event)) return
        event.preventDefault()
        event.stopPropagation()
        setOver(false)
        onFiles([...event.dataTransfer.files])
      }}
    >
      {children}
      {over && (
        <div className="pointer-events-none absolute inset-2 z-10 grid place-items-center rounded-2 border-2 border-dashed border-accent bg-bg0/85 text-16 font-semibold">
          {hint}
        </div>
      )}
    </section>
  )
}

export function Empty({ icon: Icon, title, children }: { icon: LucideIcon; title: string; children: ReactNode }) {
  return (
    <div className="flex flex-1 flex-col items-center justify-center gap-2 px-8 py-14 text-center">
      <Icon size={36} strokeWidth={1.25} className="text-fg3" aria-hidden />
      <p className="text-14 font-medium text-fg1">{title}</p>
      <p className="max-w-80 text-12 text-fg2">{children}</p>
    </div>
  )
}

/** Nothing came of the search. */
export function NoMatch({ onClear }: { onClear(): void }) {
  return (
    <div className="flex flex-1 flex-col items-center justify-center gap-3 py-14">
      <p className="text-13 text-fg2">{t.library.noMatch}</p>
      <Button variant="outline" className="max-md:h-11" onClick={onClear}>
        {t.library.clearSearch}
      </Button>
    </div>
  )
}

export function Failed({ reason, onRetry }: { reason: string; onRetry(): void }) {
  return (
    <div role="alert" className="m-3 flex items-start gap-2.5 rounded-2 border border-live/60 bg-live/10 p-3">
      <CircleAlert size={16} className="mt-0.5 shrink-0 text-live" aria-hidden />
      <div className="flex min-w-0 flex-col items-start gap-2">
        <p className="text-13 [overflow-wrap:anywhere]">{reason}</p>
        <Button variant="outline" className="max-md:h-11" onClick={onRetry}>
          <RotateCw size={13} aria-hidden />
          {t.common.retry}
        </Button>
      </div>
    </div>
  )
}

function UploadRow({ upload, onDismiss }: { upload: Upload; onDismiss(): void }) {
  const { name, sent, total, problem } = upload
  const share = total > 0 ? (sent / total) * 100 : 0
  const amount = sent > 0 ? t.library.of(bytes(sent), bytes(total)) : t.library.waiting
  return (
    <li data-testid="upload" data-state={problem ? 'failed' : 'sending'} className="flex items-center gap-2">
      <div className="flex min-w-0 flex-1 flex-col gap-1">
        <div className="flex items-baseline justify-between gap-3 text-12">
          <span className="truncate">{name}</span>
          {!problem && <span className="num shrink-0 text-11 text-fg3">{amount}</span>}
        </div>
        {problem ? (
          <p className="text-11 text-live">{t.library.problems[problem.code] ?? problem.message}</p>
        ) : (
          <div
            role="progressbar"
            aria-label={t.library.uploading(name)}
            aria-valuenow={Math.round(share)}
            aria-valuemin={0}
            aria-valuemax={100}
            aria-valuetext={amount}
            className="h-1 overflow-hidden rounded-full bg-edge/50"
          >
            <div className="h-full bg-accent" style={{ width: `${share}%` }} />
          </div>
        )}
      </div>
      <IconButton
        label={problem ? t.library.dismissUpload(name) : t.library.cancelUpload(name)}
        className="max-md:h-11 max-md:w-11"
        onClick={onDismiss}
      >
        <X size={14} aria-hidden />
      </IconButton>
    </li>
  )
}

/** What is on its way to the server, and what did not get there. */
export function Uploads<T extends { path: string }>({ shelf }: { shelf: Shelf<T> }) {
  const uploads = useStore(shelf.store, (state) => state.uploads)
  if (uploads.length === 0) return null
  return (
    <ul
      aria-label={t.library.uploads}
      className="m-0 flex max-h-48 shrink-0 list-none flex-col gap-2 overflow-y-auto border-y border-line bg-bg2 p-3"
    >
      {uploads.map((upload) => (
        <UploadRow key={upload.id} upload={upload} onDismiss={() => shelf.dismiss(upload.id)} />
      ))}
    </ul>
  )
}

/** Files that are pasted while this is on screen. Text in a box stays text. */
export function usePastedFiles(take: (files: File[]) => void): void {
  const latest = useRef(take)
  latest.current = take
  useEffect(() => {
    const paste = (event: ClipboardEvent) => {
      const files = [...(event.clipboardData?.files ?? [])]
      if (files.length === 0) return
      event.preventDefault()
      event.stopImmediatePropagation()
      latest.current(files)
    }
    document.addEventListener('paste', paste, { capture: true })
    return () => document.removeEventListener('paste', paste, { capture: true })
  }, [])
}
