import { Clapperboard, Download, ImagePlus, Images, Trash2, Upload } from 'lucide-react'
import { type KeyboardEvent, useMemo, useRef, useState } from 'react'
import { useStore } from 'zustand'
import type { Asset, AssetKind } from '../../api/types'
import { notify, scope } from '../../app'
import { ASSET_TYPES, findAssets } from '../../engine/library'
import { useChain, useDoc, usePipeline } from '../../hooks'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { Segmented } from '../../ui/controls'
import { bytes } from '../../ui/format'
import { AssetTile } from './AssetTile'
import { DropArea, Empty, Failed, FileButton, NoMatch, SearchBox, Uploads, usePastedFiles } from './parts'
import { assetFile, giveTo, isUsed, namedPaste, playAsInput, usesOf } from './uses'

/** Tiles in the page at a time, and how many more a press brings. */
const PAGE = 60
type Filter = AssetKind | 'all'

interface MediaTabProps {
  /** Only files of this kind, to choose one of. */
  kind?: AssetKind
  onPick?(asset: Asset): void
}

const accept = (kind: Filter) =>
  (kind === 'all' ? Object.values(ASSET_TYPES).flat() : ASSET_TYPES[kind]).map((type) => `.${type}`).join(',')

function Details({ asset, onPick, onGone }: { asset: Asset; onPick?: MediaTabProps['onPick']; onGone(): void }) {
  const chain = useChain()
  const pipeline = usePipeline()
  const inUse = useDoc((doc) => isUsed(asset.path, doc.params))
  const [sure, setSure] = useState(false)
  const uses = useMemo(() => usesOf(chain, asset.type), [chain, asset.type])
  const { name, url } = assetFile(asset)
  const remove = () => {
    if (inUse && !sure) {
      setSure(true)
      return
    }
    const undo = scope.library.assets.remove(asset)
    onGone()
    notify(t.library.removed(asset.name), { label: t.library.undo, run: undo })
  }
  const touch = 'max-md:h-11'
  return (
    <div data-testid="asset-details" className="flex shrink-0 gap-3 border-t border-line bg-bg2 p-3 max-md:flex-col">
      <div className="grid h-36 w-48 shrink-0 place-items-center overflow-hidden rounded-1 bg-bg0 max-md:h-32 max-md:w-full">
        {asset.type === 'image' && (
          <img src={url} alt={t.library.media.preview(asset.name)} className="h-full w-full object-contain" />
        )}
        {asset.type === 'video' && (
          <video
            key={url}
            src={url}
            controls
            muted
            loop
            preload="metadata"
            aria-label={t.library.media.preview(asset.name)}
            className="h-full w-full object-contain"
          />
        )}
        {asset.type === 'audio' && (
          // biome-ignore lint/a11y/useMediaCaption: the user's own sound has none
          <audio
            key={url}
            src={url}
            controls
            preload="metadata"
            aria-label={t.library.media.preview(asset.name)}
            className="w-full px-1"
          />
        )}
      </div>
      <div className="flex min-w-0 flex-1 flex-col gap-2">
        <div className="flex items-start gap-1">
          <div className="mr-auto min-w-0">
            <p className="truncate text-13 font-medium" title={name}>
              {name}
            </p>
            <p className="num text-11 text-fg3">
              {bytes(asset.size_mb * 1_048_576)} · {new Date(asset.created_at * 1000).toLocaleString()}
            </p>
          </div>
          <a
            href={url}
            download={name}
            aria-label={`${t.library.download} ${name}`}
            title={t.library.download}
            className="grid h-7 w-7 shrink-0 place-items-center rounded-1 text-fg2 hover:bg-bg3 hover:text-fg1 max-md:h-11 max-md:w-11"
          >
            <Download size={14} aria-hidden />
          </a>
          <IconButton
            label={sure ? t.library.removeSure : t.library.remove}
            variant={sure ? 'danger' : 'ghost'}
            data-testid="delete-asset"
            className="max-md:h-11 max-md:w-11"
            onClick={remove}
            onBlur={() => setSure(false)}
          >
            <Trash2 size={14} aria-hidden />
          </IconButton>
        </div>
        {sure && <p className="text-11 text-warn">{t.library.removeSure}</p>}
        <div className="flex flex-wrap gap-1.5">
          {onPick ? (
            <Button variant="primary" className={touch} data-testid="pick-asset" onClick={() => onPick(asset)}>
              {t.library.media.choose}
            </Button>
          ) : (
            <>
              {asset.type === 'video' && (
                <Button
                  variant="primary"
                  className={touch}
                  data-testid="use-as-input"
                  onClick={() => void playAsInput(name, url, asset.path)}
                >
                  <Clapperboard size={14} aria-hidden />
                  {t.library.media.useInput}
                </Button>
              )}
              {uses.map((use) => (
                <Button
                  key={`${use.node.id} ${use.field.key}`}
                  variant="outline"
                  className={touch}
                  data-testid={`use-${use.field.key}`}
                  onClick={() => giveTo(use, asset)}
                >
                  <ImagePlus size={14} aria-hidden />
                  {t.library.media.use(use.field.label)}
                </Button>
              ))}
              {uses.length === 0 && asset.type !== 'video' && pipeline && (
                <p className="text-12 text-fg3">{t.library.media.noUse(pipeline.name)}</p>
              )}
            </>
          )}
        </div>
      </div>
    </div>
  )
}

/** The files of the server: to look at, to use, to add to and to clear out. */
export function MediaTab({ kind, onPick }: MediaTabProps) {
  const shelf = scope.library.assets
  const { phase, items, problem } = useStore(shelf.store)
  const params = useDoc((doc) => doc.params)
  const [query, setQuery] = useState('')
  const [filter, setFilter] = useState<Filter>('all')
  const [limit, setLimit] = useState(PAGE)
  const [selected, setSelected] = useState<string | null>(null)
  const list = useRef<HTMLDivElement>(null)
  const wanted: Filter = kind ?? filter
  const found = useMemo(() => findAssets(items, query, wanted), [items, query, wanted])
  const shown = found.slice(0, limit)
  const current = shown.find(({ path }) => path === selected) ?? null
  const take = (files: File[]) => void uploadAll(files)
  const uploadAll = async (files: File[]) => {
    const done = await shelf.upload(files)
    const last = done.at(-1)
    if (last) setSelected(last.path)
  }
  usePastedFiles((files) => take(namedPaste(files, new Date())))

  /** Arrows walk the grid, whatever its width. */
  const onKey = (event: KeyboardEvent<HTMLDivElement>) => {
    const tiles = [...(list.current?.querySelectorAll<HTMLElement>('[role="option"]') ?? [])]
    const at = tiles.indexOf(document.activeElement as HTMLElement)
    if (at < 0) return
    const top = tiles[0]?.offsetTop
    const columns = tiles.filter((tile) => tile.offsetTop === top).length
    const steps: Record<string, number> = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -columns,
      ArrowDown: columns,
      Home: -at,
      End: tiles.length - 1 - at,
    }
    const step = steps[event.key]
    if (step !== undefined) {
      event.preventDefault()
      tiles[Math.min(tiles.length - 1, Math.max(0, at + step))]?.focus()
    } else if (event.key === 'Delete') {
      event.preventDefault()
      document.querySelector<HTMLElement>('[data-testid="delete-asset"]')?.click()
      tiles[at + 1]?.focus()
    }
  }

  const empty = phase === 'ready' && items.filter((item) => wanted === 'all' || item.type === wanted).length === 0
  return (
    <DropArea hint={t.library.media.drop} onFiles={take}>
      <div className="flex shrink-0 flex-wrap items-center gap-2 p-3">
        <SearchBox label={t.library.media.search} value={query} onChange={setQuery} />
        <FileButton
          label={t.library.media.upload}
          accept={accept(wanted)}
          multiple
          testId="upload-media"
          icon={Upload}
          variant="primary"
          onFiles={take}
        />
        {kind === undefined && (
          <div className="w-full">
            <Segmented
              label={t.library.media.kind}
              testId="media-kind"
              value={filter}
              options={(['all', 'image', 'video', 'audio'] as const).map((value) => ({
                value,
                label: t.library.media.kinds[value],
              }))}
              onChange={(value) => {
                setFilter(value as Filter)
                setLimit(PAGE)
              }}
            />
          </div>
        )}
      </div>
      <Uploads shelf={shelf} />
      {phase !== 'loading' && problem && (
        <Failed
          reason={phase === 'failed' ? t.library.failed(problem.message) : problem.message}
          onRetry={() => void shelf.refresh()}
        />
      )}
      {phase === 'loading' && items.length === 0 && <p className="px-3 text-12 text-fg3">{t.library.loading}</p>}
      {empty && (
        <Empty icon={Images} title={t.library.media.empty}>
          {t.library.media.emptyHint}
        </Empty>
      )}
      {phase === 'ready' && !empty && found.length === 0 && (
        <NoMatch
          onClear={() => {
            setQuery('')
            setFilter('all')
          }}
        />
      )}
      {found.length > 0 && (
        <div className="min-h-0 flex-1 overflow-y-auto px-3 pb-3">
          <div
            ref={list}
            role="listbox"
            tabIndex={-1}
            aria-label={t.library.media.list}
            onKeyDown={onKey}
            className="grid grid-cols-4 gap-2 max-md:grid-cols-3"
          >
            {shown.map((asset, index) => (
              <AssetTile
                key={asset.path}
                asset={asset}
                selected={asset.path === selected}
                entry={current ? asset === current : index === 0}
                inUse={isUsed(asset.path, params)}
                onSelect={() => setSelected(asset.path)}
                onOpen={() => onPick?.(asset)}
              />
            ))}
          </div>
          <div className="mt-3 flex items-center justify-between text-11 text-fg3">
            <span data-testid="media-count">{t.library.media.of(shown.length, found.length)}</span>
            {found.length > limit && (
              <Button variant="outline" className="max-md:h-11" onClick={() => setLimit(limit + PAGE)}>
                {t.library.more(Math.min(PAGE, found.length - limit))}
              </Button>
            )}
          </div>
        </div>
      )}
      {current && (
        <Details
          key={current.path}
          asset={current}
          onPick={onPick}
          onGone={() => setSelected(found[found.indexOf(current) + 1]?.path ?? null)}
        />
      )}
    </DropArea>
  )
}
