import { Camera, Clapperboard, Disc, Download, FolderPlus, RotateCcw, Trash2, X } from 'lucide-react'
import { type ReactNode, useEffect, useState } from 'react'
import { useStore } from 'zustand'
import type { Asset } from '../../api/types'
import { notify, scope } from '../../app'
import type { Capture } from '../../engine/captures'
import { LOW_BYTES } from '../../engine/disk'
import { FOLDERS } from '../../engine/library'
import { MEGABYTE } from '../../engine/recorder'
import { useDoc, useModels } from '../../hooks'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { bytes } from '../../ui/format'
import { openAgain } from '../again/state'
import { Empty, Failed } from './parts'
import { assetFile, isUsed, playAsInput, playFile } from './uses'

const texts = t.recordings
/** Rows in the page at a time, and how many more a press brings. */
const PAGE = 30

interface RowProps {
  film: boolean
  name: string
  url: string
  size: number
  /** Milliseconds since 1970. */
  at: number
  id: string
  note?: ReactNode
  remove: ReactNode
  onUse(): void
  children?: ReactNode
}

function Row({ film, name, url, size, at, id, note, remove, onUse, children }: RowProps) {
  const Icon = film ? Disc : Camera
  const preview = t.library.media.preview(name)
  return (
    <li
      data-testid="capture"
      data-kind={film ? 'recording' : 'screenshot'}
      data-name={id}
      className="flex gap-3 rounded-1 border border-line bg-bg2 p-2"
    >
      <div className="grid aspect-video w-44 shrink-0 place-items-center self-start overflow-hidden rounded-1 bg-bg0 max-md:w-32">
        {film ? (
          // biome-ignore lint/a11y/useMediaCaption: a recording of this page has none
          <video src={url} controls preload="metadata" aria-label={preview} className="h-full w-full object-contain" />
        ) : (
          <img src={url} alt={preview} loading="lazy" className="h-full w-full object-contain" />
        )}
      </div>
      <div className="flex min-w-0 flex-1 flex-col justify-between gap-2">
        <div className="flex items-start gap-1">
          <div className="mr-auto min-w-0">
            <p className="truncate text-12 font-medium" title={name}>
              {name}
            </p>
            <p className="flex flex-wrap items-center gap-x-1.5 text-11 text-fg3">
              <Icon size={11} aria-hidden />
              {film ? texts.recording : texts.screenshot}
              <span className="num">
                {bytes(size)} · {new Date(at).toLocaleString()}
              </span>
            </p>
            {note && <p className="text-11 text-warn">{note}</p>}
          </div>
          {remove}
        </div>
        <div className="flex flex-wrap gap-1.5">
          <a
            href={url}
            download={name}
            className="inline-flex h-7 items-center gap-1.5 rounded-1 border border-edge bg-bg2 px-2 text-12 font-medium hover:bg-bg3 max-md:h-11"
          >
            <Download size={14} aria-hidden />
            {t.library.download}
          </a>
          {film && (
            <Button variant="outline" className="max-md:h-11" data-testid="use-recording" onClick={onUse}>
              <Clapperboard size={14} aria-hidden />
              {t.library.media.useInput}
            </Button>
          )}
          {children}
        </div>
      </div>
    </li>
  )
}

/** What was not recorded can still be rendered. */
function AgainButton() {
  return (
    <Button variant="outline" className="max-md:h-11" onClick={openAgain}>
      <RotateCcw size={14} aria-hidden />
      {t.again.command}
    </Button>
  )
}

/** A file of the server's. */
function Filed({ asset }: { asset: Asset }) {
  const inUse = useDoc((doc) => isUsed(asset.path, doc.params))
  const [sure, setSure] = useState(false)
  const { name, url } = assetFile(asset)
  const remove = () => {
    if (inUse && !sure) {
      setSure(true)
      return
    }
    const undo = scope.library.assets.remove(asset)
    notify(t.library.removed(name), { label: t.library.undo, run: undo })
  }
  return (
    <Row
      film={asset.type === 'video'}
      name={name}
      url={url}
      size={asset.size_mb * MEGABYTE}
      at={asset.created_at * 1000}
      id={asset.name}
      note={sure && t.library.removeSure}
      onUse={() => void playAsInput(name, url, asset.path)}
      remove={
        <IconButton
          label={`${sure ? t.library.removeSure : t.library.remove}: ${name}`}
          variant={sure ? 'danger' : 'ghost'}
          data-testid="delete-recording"
          className="max-md:h-11 max-md:w-11"
          onClick={remove}
          onBlur={() => setSure(false)}
        >
          <Trash2 size={14} aria-hidden />
        </IconButton>
      }
    />
  )
}

async function keep({ id, kind, name, data }: Capture): Promise<void> {
  const filed = await scope.library.file(kind, name, data)
  // What was refused again is in the list once more.
  scope.library.captures.remove(id)
  if (filed) notify(texts.filed(name))
}

/** What the server did not take: it is in the page alone. */
function Unfiled({ item }: { item: Capture }) {
  const [busy, setBusy] = useState(false)
  const again = () => {
    setBusy(true)
    void keep(item).finally(() => setBusy(false))
  }
  return (
    <Row
      film={item.kind === 'recording'}
      name={item.name}
      url={item.url}
      size={item.bytes}
      at={item.at}
      id={item.name}
      note={texts.unfiled}
      onUse={() => void playFile(item.name, item.data)}
      remove={
        <IconButton
          label={`${t.library.remove}: ${item.name}`}
          className="max-md:h-11 max-md:w-11"
          onClick={() => scope.library.captures.remove(item.id)}
        >
          <X size={14} aria-hidden />
        </IconButton>
      }
    >
      <Button variant="outline" className="max-md:h-11" data-testid="keep-capture" disabled={busy} onClick={again}>
        <FolderPlus size={14} aria-hidden />
        {texts.keep}
      </Button>
    </Row>
  )
}

const KEPT: readonly string[] = Object.values(FOLDERS)

/** What was recorded and photographed, by whomever: it is on the server, and outlives page and session. */
export function RecordingsTab() {
  const { phase, items, problem } = useStore(scope.library.assets.store)
  const { items: unfiled, dropped } = useStore(scope.library.captures.store)
  const room = useModels((models) => models.room)
  const [limit, setLimit] = useState(PAGE)
  useEffect(() => void scope.models.refresh(), [])
  const filed = items.filter(({ folder }) => KEPT.includes(folder ?? ''))
  const size = filed.reduce((all, { size_mb: mb }) => all + mb * MEGABYTE, 0)
  const empty = filed.length + unfiled.length === 0
  return (
    <>
      {problem && (
        <Failed
          reason={phase === 'failed' ? t.library.failed(problem.message) : problem.message}
          onRetry={() => void scope.library.assets.refresh()}
        />
      )}
      {empty && phase === 'loading' && <p className="p-3 text-12 text-fg3">{t.library.loading}</p>}
      {empty && phase === 'ready' && (
        <Empty icon={Disc} title={texts.empty}>
          {texts.emptyHint}
          <span className="mt-4 flex justify-center">
            <AgainButton />
          </span>
        </Empty>
      )}
      {!empty && (
        <ul aria-label={texts.list} className="m-0 flex min-h-0 flex-1 list-none flex-col gap-2 overflow-y-auto p-3">
          {unfiled.map((item) => (
            <Unfiled key={item.id} item={item} />
          ))}
          {filed.slice(0, limit).map((asset) => (
            <Filed key={asset.path} asset={asset} />
          ))}
          {filed.length > limit && (
            <li className="text-center">
              <Button variant="outline" className="max-md:h-11" onClick={() => setLimit(limit + PAGE)}>
                {t.library.more(Math.min(PAGE, filed.length - limit))}
              </Button>
            </li>
          )}
        </ul>
      )}
      <div className="mt-auto flex shrink-0 items-center gap-3 border-t border-line p-3">
        <p className="min-w-0 flex-1 text-11 text-fg3" data-testid="recordings-room">
          {filed.length > 0 && `${texts.kept(filed.length, bytes(size))} `}
          {room !== null && (
            <span className={room < LOW_BYTES ? 'text-warn' : ''}>
              {room < LOW_BYTES ? texts.low(bytes(room)) : texts.room(bytes(room))}
            </span>
          )}{' '}
          {dropped > 0 && texts.dropped(dropped)}
        </p>
        {!empty && <AgainButton />}
      </div>
    </>
  )
}
