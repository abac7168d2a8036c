import { Clapperboard } from 'lucide-react'
import { useStore } from 'zustand'
import type { Render } from '../../api/renders'
import { scope } from '../../app'
import { t } from '../../messages'
import { openAgain } from './state'

const percentOf = ({ frames, total_frames }: Render) => Math.floor((100 * frames) / Math.max(1, total_frames))

/** How far a rendering is that goes on behind everything else, and the way to it. */
export function AgainChip() {
  const percent = useStore(scope.rerender.store, ({ render, preparing }) => {
    if (render) return percentOf(render)
    return preparing ? 0 : null
  })
  if (percent === null) return null
  return (
    <button
      type="button"
      data-testid="again-chip"
      onClick={openAgain}
      className="num flex h-6 items-center gap-1.5 rounded-1 px-1.5 font-medium text-accent hover:bg-bg3"
    >
      <Clapperboard size={13} aria-hidden />
      {t.again.chip(percent)}
    </button>
  )
}
