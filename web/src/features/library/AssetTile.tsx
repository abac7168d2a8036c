import { AudioLines, Film, ImageOff } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import type { Asset } from '../../api/types'
import { t } from '../../messages'
import { cx } from '../../ui/cx'
import { assetFile } from './uses'

/** A picture of a file. Films are fetched when they come into view, and move under the pointer. */
export function Thumb({ asset, moving = false }: { asset: Asset; moving?: boolean }) {
  const [broken, setBroken] = useState(false)
  const { url } = assetFile(asset)
  if (broken) return <ImageOff size={24} strokeWidth={1.25} className="text-fg3" aria-hidden />
  if (asset.type === 'audio') return <AudioLines size={30} strokeWidth={1.25} className="text-accent" aria-hidden />
  if (asset.type === 'video') return <FilmThumb url={url} moving={moving} onBroken={() => setBroken(true)} />
  return (
    <img
      src={url}
      alt=""
      loading="lazy"
      decoding="async"
      draggable={false}
      className="h-full w-full object-cover"
      onError={() => setBroken(true)}
    />
  )
}

function FilmThumb({ url, moving, onBroken }: { url: string; moving: boolean; onBroken(): void }) {
  const film = useRef<HTMLVideoElement>(null)
  const [seen, setSeen] = useState(false)
  useEffect(() => {
    const node = film.current
    if (!node) return
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && setSeen(true))
    observer.observe(node)
    return () => observer.disconnect()
  }, [])
  useEffect(() => {
    if (!seen) return
    if (moving) void film.current?.play().catch(() => undefined)
    else film.current?.pause()
  }, [moving, seen])
  return (
    <video
      ref={film}
      src={seen ? `${url}#t=0.1` : undefined}
      preload="metadata"
      muted
      loop
      playsInline
      tabIndex={-1}
      aria-hidden
      className="h-full w-full object-cover"
      onError={() => seen && onBroken()}
    />
  )
}

interface TileProps {
  asset: Asset
  selected: boolean
  /** The one that Tab leads to. */
  entry: boolean
  inUse: boolean
  onSelect(): void
  onOpen(): void
}

export function AssetTile({ asset, selected, entry, inUse, onSelect, onOpen }: TileProps) {
  const [over, setOver] = useState(false)
  return (
    <div
      role="option"
      aria-selected={selected}
      aria-label={`${asset.name}, ${t.library.media.kindName[asset.type]}${inUse ? `, ${t.library.media.inUse}` : ''}`}
      tabIndex={entry ? 0 : -1}
      data-testid="asset"
      data-path={asset.path}
      className={cx(
        'flex min-w-0 cursor-pointer flex-col overflow-hidden rounded-1 border bg-bg2 text-left',
        selected ? 'border-accent ring-1 ring-accent' : 'border-line hover:border-edge',
      )}
      onPointerEnter={() => setOver(true)}
      onPointerLeave={() => setOver(false)}
      onFocus={onSelect}
      onClick={onSelect}
      onDoubleClick={onOpen}
      onKeyDown={(event) => {
        if (event.key !== 'Enter') return
        event.preventDefault()
        onOpen()
      }}
    >
      <div className="relative grid aspect-[4/3] place-items-center overflow-hidden bg-bg0">
        <Thumb asset={asset} moving={over || selected} />
        {asset.type === 'video' && (
          <span className="absolute bottom-1 left-1 rounded-[3px] bg-bg0/80 p-0.5">
            <Film size={12} className="text-fg1" aria-hidden />
          </span>
        )}
        {inUse && (
          <span className="absolute top-1 right-1 rounded-[3px] bg-bg0/85 px-1 text-11 text-ok">
            {t.library.media.inUse}
          </span>
        )}
      </div>
      <span className="truncate px-1.5 py-1 text-11 text-fg2" title={asset.name}>
        {asset.name}
      </span>
    </div>
  )
}
