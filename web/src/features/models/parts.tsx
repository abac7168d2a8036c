import { CircleAlert, CircleCheck, CircleDashed, CloudDownload, TriangleAlert } from 'lucide-react'
import type { ReactNode } from 'react'
import type { Download } from '../../api/types'
import type { Files } from '../../engine/models'
import { t } from '../../messages'
import { cx } from '../../ui/cx'
import { bytes, bytesPerSecond } from '../../ui/format'

/** Bytes, with "about" where nobody has asked the server of the files yet. */
export function amount(count: number, exact: boolean): string {
  return exact ? bytes(count) : t.models.about(bytes(count))
}

/** How long in words that need no second look. */
export function duration(seconds: number): string {
  if (seconds < 60) return t.models.seconds(Math.max(1, Math.round(seconds)))
  const minutes = Math.round(seconds / 60)
  if (minutes < 90) return t.models.minutes(minutes)
  return t.models.hours(Math.round(seconds / 360) / 10)
}

interface Look {
  icon: ReactNode
  text: string
  tone: string
}

function look(files: Files, download: Download | null | undefined, brief: boolean): Look {
  if (download?.is_downloading) {
    const text = t.models.percent(Math.floor(download.percentage ?? 0))
    return { icon: <CloudDownload size={13} aria-hidden />, text, tone: 'text-accent' }
  }
  const left = amount(files.missing, files.exact)
  if (download?.error) {
    return { icon: <CircleAlert size={13} aria-hidden />, text: t.models.failed, tone: 'text-live' }
  }
  switch (files.state) {
    case 'complete':
      return { icon: <CircleCheck size={13} aria-hidden />, text: t.models.complete, tone: 'text-ok' }
    case 'damaged':
      return {
        icon: <TriangleAlert size={13} aria-hidden />,
        text: brief ? t.models.brief.damaged : t.models.damaged(left),
        tone: 'text-warn',
      }
    case 'partial':
      return {
        icon: <CircleDashed size={13} aria-hidden />,
        text: brief ? t.models.brief.partial : t.models.partial(left),
        tone: 'text-fg2',
      }
    case 'missing':
      return {
        icon: <CloudDownload size={13} aria-hidden />,
        text: brief ? t.models.brief.missing : t.models.missing(left),
        tone: 'text-fg2',
      }
  }
}

interface FilesStateProps {
  files: Files
  download?: Download | null | undefined
  /** Without the bytes to go. */
  brief?: boolean
}

/** How a pipeline's files are, in one line. */
export function FilesState({ files, download, brief = false }: FilesStateProps) {
  const { icon, text, tone } = look(files, download, brief)
  return (
    <span className={cx('flex items-center gap-1.5 text-11 whitespace-nowrap', tone)} data-files={files.state}>
      {icon}
      {text}
    </span>
  )
}

/** How far a download is: bytes, rate, time left, or what it waits for. */
export function Progress({ download, name }: { download: Download; name: string }) {
  const done = download.downloaded_bytes ?? 0
  const total = download.total_bytes ?? 0
  const sizes = total > 0 ? t.models.of(bytes(done), bytes(total)) : t.models.preparing
  const pace = [
    bytesPerSecond(download.bytes_per_second),
    typeof download.eta_seconds === 'number' ? t.models.left(duration(download.eta_seconds)) : null,
  ].filter(Boolean)
  const percent = Math.min(100, download.percentage ?? 0)
  return (
    <div>
      <div
        role="progressbar"
        aria-label={t.models.downloading(name)}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.floor(percent)}
        aria-valuetext={[sizes, ...pace].join(', ')}
        data-testid="download-progress"
        data-bytes={done}
        className="h-1.5 overflow-hidden rounded-full bg-bg3"
      >
        <div
          className="h-full rounded-full bg-accent transition-[width] duration-500 ease-linear"
          style={{ width: `${percent}%` }}
        />
      </div>
      <p className="num mt-1.5 flex flex-wrap justify-between gap-x-3 text-11 text-fg2">
        <span>{sizes}</span>
        <span>{download.state === 'preparing' ? '' : pace.join(' · ')}</span>
      </p>
      {download.waiting_for && (
        <p className="mt-1 text-11 [overflow-wrap:anywhere] text-warn">{t.models.waiting(download.waiting_for)}</p>
      )}
    </div>
  )
}

export function Trouble({ children }: { children: ReactNode }) {
  return (
    <p
      role="alert"
      data-testid="download-trouble"
      className="flex items-start gap-1.5 text-12 [overflow-wrap:anywhere] text-live"
    >
      <CircleAlert size={14} className="mt-0.5 shrink-0" aria-hidden />
      <span>{children}</span>
    </p>
  )
}

/** There is less room on the disk than is needed. */
export function NoRoom({ need, room }: { need: number; room: number }) {
  return (
    <p role="status" data-testid="no-room" className="flex items-start gap-1.5 text-12 text-warn">
      <TriangleAlert size={14} className="mt-0.5 shrink-0" aria-hidden />
      <span>{t.models.noRoom(bytes(need), bytes(room))}</span>
    </p>
  )
}
