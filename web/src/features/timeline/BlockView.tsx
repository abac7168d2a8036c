import { Lock, Scissors } from 'lucide-react'
import { memo } from 'react'
import type { Block } from '../../doc/model'
import { promptLabel } from '../../doc/prompts'
import { t } from '../../messages'
import { cx } from '../../ui/cx'
import { minutes } from '../../ui/format'
import { BLOCK_COLORS } from './colors'

const LONG_MS = 6000

export const blockId = (id: string) => `block-${id}`

export const blockText = (block: Block) =>
  block.label ?? (block.prompts.length > 0 ? promptLabel(block.prompts) : t.timeline.noPrompt)

/** All that a block is, in words. */
function nameOf(block: Block, index: number, count: number): string {
  const until = block.endMs === null ? t.timeline.live : minutes(block.endMs)
  const steps = block.transition?.steps ?? 0
  const how = block.cut === 'hard' ? t.timeline.hardCut : steps > 0 ? t.timeline.softCut(steps) : ''
  const more = `${how}${block.locked ? t.timeline.locked : ''}`
  return t.timeline.block(index + 1, count, minutes(block.startMs), until, blockText(block), more)
}

interface BlockViewProps {
  block: Block
  index: number
  count: number
  selected: boolean
  /** The keyboard is here. */
  current: boolean
  /** It is under the playhead. */
  active: boolean
}

export const BlockView = memo(function BlockView({ block, index, count, selected, current, active }: BlockViewProps) {
  const live = block.endMs === null
  const text = block.prompts.length > 0 ? promptLabel(block.prompts) : t.timeline.noPrompt
  const width = live ? undefined : `calc(${(block.endMs ?? 0) - block.startMs} * var(--ms))`
  // What may be wider than the view keeps its words in it.
  const long = live || (block.endMs ?? 0) - block.startMs >= LONG_MS
  const soft = block.cut === 'soft' && (block.transition?.steps ?? 0) > 0
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: the list has the focus and names its current option
    <div
      id={blockId(block.id)}
      role="option"
      aria-selected={selected}
      aria-posinset={index + 1}
      aria-setsize={count}
      aria-label={nameOf(block, index, count)}
      aria-current={active ? 'time' : undefined}
      data-testid="timeline-block"
      data-live={live}
      data-start={block.startMs}
      data-end={block.endMs ?? ''}
      data-active={active}
      data-color={block.color}
      title={text}
      style={{ left: `calc(${block.startMs} * var(--ms))`, width }}
      className={cx(
        'absolute inset-y-0 overflow-clip rounded-1 border text-12 text-fg1 select-none [contain:layout_style]',
        live && '@container',
        BLOCK_COLORS[block.color - 1],
        selected ? 'touch-none' : '[touch-action:pan-x_pan-y]',
        live ? 'border-live' : selected ? 'border-fg1' : 'border-edge',
        selected && 'z-10 shadow-[inset_0_0_0_2px_var(--color-accent)]',
        current &&
          'group-focus-visible/blocks:z-10 group-focus-visible/blocks:outline-2 group-focus-visible/blocks:outline-focus group-focus-visible/blocks:-outline-offset-1',
      )}
    >
      {active && <span className="absolute inset-x-0 top-0 h-[3px] bg-fg1" aria-hidden />}
      {soft && (
        <span
          className="absolute inset-y-0 left-0 w-3 bg-gradient-to-r from-fg1/35 to-transparent [clip-path:polygon(0_0,100%_0,0_100%)]"
          aria-hidden
        />
      )}
      {block.locked && (
        <span
          className="absolute inset-0 bg-[repeating-linear-gradient(135deg,var(--color-bg0)_0_2px,transparent_2px_8px)] opacity-35"
          aria-hidden
        />
      )}
      <span className={cx('flex h-full items-center gap-1.5 px-2', long && 'sticky left-0 w-fit max-w-full')}>
        {block.locked && <Lock size={12} className="shrink-0" aria-hidden />}
        {block.cut === 'hard' && <Scissors size={12} className="shrink-0" aria-hidden />}
        <span className="min-w-0 truncate" aria-hidden>
          {blockText(block)}
        </span>
        {/* The word is drawn by CSS: the block's name says it already, and must contain all text in it. */}
        {live && (
          <>
            <span
              className="hidden shrink-0 rounded-full bg-live px-1.5 text-11 font-semibold text-live-ink after:content-[attr(data-word)] @min-[110px]:block"
              data-word={t.timeline.live}
              aria-hidden
            />
            <span
              className="h-2 w-2 shrink-0 animate-pulse-live rounded-full bg-live @min-[110px]:hidden"
              aria-hidden
            />
          </>
        )}
      </span>
    </div>
  )
})
