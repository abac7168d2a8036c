import { Metronome } from 'lucide-react'
import { Popover } from 'radix-ui'
import { Suspense, useCallback } from 'react'
import { uiStore } from '../../app'
import { docStore } from '../../doc/store'
import { barAndBeat } from '../../doc/tempo'
import { useDoc, useUi } from '../../hooks'
import { t } from '../../messages'
import { Hint } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { lazyPanel } from '../../ui/Lazily'
import { commandTarget } from '../control/ids'
import { pressKey } from './commands'
import { onPulse, still } from './pulse'

const panel = lazyPanel(async () => (await import('./TempoPanel')).TempoPanel)

/** How much of a beat the light takes to go out. */
const GLOW = 0.45

/** The light of the beat, brighter on the one, and its number. Painted. */
function Light() {
  const attach = useCallback((node: HTMLSpanElement | null) => {
    if (!node) return
    let shown = ''
    let level = -1
    return onPulse((position) => {
      const at = position === null ? null : barAndBeat(position, docStore.getState().tempo.beatsPerBar)
      const text = at ? String(at.beat) : ''
      if (text !== shown) {
        shown = text
        node.textContent = text
        node.dataset.beat = text
        node.dataset.one = String(at?.beat === 1)
      }
      // In steps, so that the browser paints no more often than is seen.
      const phase = position === null ? 1 : position - Math.floor(position)
      const glow = position === null || still() ? 0 : Math.round(Math.max(0, 1 - phase / GLOW) * 8) / 8
      if (glow !== level) {
        level = glow
        node.style.setProperty('--glow', `${glow * 100}%`)
      }
    })
  }, [])
  return (
    <span
      ref={attach}
      aria-hidden
      data-testid="beat-light"
      className="num grid h-5 w-5 shrink-0 place-items-center rounded-full border border-edge bg-[color-mix(in_srgb,var(--color-edge)_var(--glow,0%),transparent)] text-11 leading-none font-semibold text-fg1 data-[one=true]:border-accent data-[one=true]:bg-[color-mix(in_srgb,var(--color-accent)_calc(var(--glow,0%)*0.6),transparent)]"
    />
  )
}

/** The tempo and its beat; opens everything about it. */
export function TempoButton({ compact = false }: { compact?: boolean }) {
  const open = useUi((ui) => ui.tempo)
  const { on, bpm } = useDoc(({ tempo }) => ({ on: tempo.on, bpm: tempo.bpm }))
  return (
    <Popover.Root open={open} onOpenChange={(next) => uiStore.setState({ tempo: next })}>
      <Hint text={t.tempo.title}>
        <Popover.Trigger asChild>
          <button
            type="button"
            data-testid="tempo-button"
            data-map={commandTarget('tempo.tap')}
            data-on={on}
            onPointerEnter={panel.preload}
            onFocus={panel.preload}
            className={cx(
              'flex shrink-0 items-center gap-1.5 rounded-1 px-1.5 whitespace-nowrap hover:bg-bg3',
              compact ? 'h-11 min-w-11 justify-center border border-line' : 'h-8',
            )}
          >
            {on ? (
              <>
                <span className="sr-only">{t.tempo.title}</span>
                <Light />
                <span data-testid="tempo-bpm" className="num min-w-11 text-right text-14 font-semibold">
                  {bpm.toFixed(1)}
                </span>
              </>
            ) : (
              <>
                <Metronome size={16} className="text-fg3" aria-hidden />
                <span className={cx('text-12 text-fg3', !compact && 'max-lg:sr-only')}>{t.tempo.title}</span>
                <span className="sr-only">{t.tempo.off}</span>
              </>
            )}
            {on && <span className={cx('text-11 text-fg3', compact && 'sr-only')}>{t.tempo.bpm}</span>}
          </button>
        </Popover.Trigger>
      </Hint>
      <Popover.Portal>
        <Popover.Content
          sideOffset={6}
          collisionPadding={8}
          aria-label={t.tempo.title}
          data-testid="tempo-panel"
          onOpenAutoFocus={(event) => {
            event.preventDefault()
            if (event.currentTarget instanceof HTMLElement) event.currentTarget.focus()
          }}
          onKeyDown={(event) => pressKey(event.nativeEvent) && event.preventDefault()}
          className="z-40 flex max-h-(--radix-popover-content-available-height) w-[min(440px,calc(100vw-16px))] flex-col overflow-y-auto rounded-2 border border-edge bg-bg1 shadow-2xl shadow-black/60 outline-none"
        >
          <Suspense fallback={<div className="h-96" />}>
            <panel.Panel />
          </Suspense>
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  )
}
