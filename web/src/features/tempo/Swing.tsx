import { AudioWaveform } from 'lucide-react'
import { lazy, Suspense, useCallback } from 'react'
import { useStore } from 'zustand'
import { docStore } from '../../doc/store'
import { type Modulation, modulationOf } from '../../doc/tempo'
import type { ChainNode } from '../../engine/chain'
import { swingBounds, swung } from '../../engine/modulation'
import { useDoc } from '../../hooks'
import { t } from '../../messages'
import { effectiveValue, type Field } from '../../schema/plan'
import { cx } from '../../ui/cx'
import { onPulse } from './pulse'
import { openSwing, swingId, swingStore } from './swings'

/** What a parameter's row shows of its swing. What moves is painted. */

const SwingEditor = lazy(() => import('./SwingEditor'))
/** A number that changes faster cannot be read. */
const TEXT_MS = 100

interface Props {
  node: ChainNode
  field: Field
}

function useSwing({ node, field }: Props): Modulation | null {
  return useDoc((doc) => modulationOf(doc, node.id, field.key))
}

/** The value that a parameter is set to. */
function baseOf({ node, field }: Props): number | null {
  const value = effectiveValue(node.pipeline, node.mode, docStore.getState().params[node.id] ?? {}, field.key)
  return typeof value === 'number' ? value : null
}

/** The value now, while it swings. */
function Now({ node, field, modulation }: Props & { modulation: Modulation }) {
  const attach = useCallback(
    (element: HTMLSpanElement | null) => {
      if (!element) return
      let last = 0
      return onPulse((position) => {
        const now = performance.now()
        if (position !== null && now - last < TEXT_MS) return
        last = now
        const base = baseOf({ node, field })
        element.textContent =
          position === null || base === null ? '' : swung(modulation, field, base, position).toFixed(2)
      })
    },
    [node, field, modulation],
  )
  return <span ref={attach} aria-hidden data-testid={`swing-now-${field.key}`} className="num text-11 text-accent" />
}

/** Opens the swing of a parameter; lit while it swings. */
export function SwingButton({ node, field }: Props) {
  const modulation = useSwing({ node, field })
  const open = useStore(swingStore, (state) => state.open === swingId(node, field))
  const lit = modulation?.on === true
  return (
    <>
      {lit && <Now node={node} field={field} modulation={modulation} />}
      <button
        type="button"
        aria-label={t.modulation.open(field.label)}
        title={t.modulation.open(field.label)}
        aria-expanded={open}
        data-testid={`swing-${field.key}`}
        data-on={lit}
        onClick={() => (open ? swingStore.setState({ open: null }) : openSwing(node, field))}
        className={cx(
          'grid h-6 w-6 shrink-0 place-items-center hover:text-fg1 focus-visible:opacity-100 pointer-coarse:h-11 pointer-coarse:w-11 pointer-coarse:opacity-100',
          lit ? 'text-accent' : 'text-fg3',
          !modulation && !open && 'opacity-0 group-focus-within/field:opacity-100 group-hover/field:opacity-100',
        )}
      >
        <AudioWaveform size={13} aria-hidden />
      </button>
    </>
  )
}

/** On a slider: between which values it swings, and where it is. */
export function SwingMark({ node, field }: Props) {
  const modulation = useSwing({ node, field })
  const on = useDoc(({ tempo }) => tempo.on)
  const attach = useCallback(
    (element: HTMLSpanElement | null) => {
      if (!element || !modulation) return
      const [band, dot] = [element.children[0], element.children[1]]
      if (!(band instanceof HTMLElement && dot instanceof HTMLElement)) return
      const { min = 0, max = 1 } = field
      const share = (value: number) => `${(100 * (value - min)) / (max - min || 1)}%`
      return onPulse((position) => {
        const base = baseOf({ node, field })
        element.hidden = position === null || base === null
        if (position === null || base === null) return
        const [low, high] = swingBounds(modulation, field)
        const within = (value: number) => Math.min(high, Math.max(low, value))
        // A pulse only rises.
        const down = modulation.shape === 'exp_decay' ? 0 : modulation.depth
        band.style.left = share(within(base - down))
        band.style.right = `calc(100% - ${share(within(base + modulation.depth))})`
        dot.style.left = share(swung(modulation, field, base, position))
      })
    },
    [node, field, modulation],
  )
  if (!modulation?.on || !on) return null
  return (
    <span ref={attach} hidden aria-hidden data-testid={`swing-mark-${field.key}`} className="pointer-events-none">
      <span className="absolute -top-1 h-0.5 rounded-full bg-warn/80" />
      <span className="absolute -top-1 h-3 w-[3px] -translate-x-1/2 rounded-full bg-warn" />
    </span>
  )
}

/** The editor below the row, while it is open. */
export function SwingPanel({ node, field }: Props) {
  const open = useStore(swingStore, (state) => state.open === swingId(node, field))
  const modulation = useSwing({ node, field })
  if (!open || !modulation) return null
  return (
    <Suspense fallback={<div className="h-40" />}>
      <SwingEditor node={node} field={field} modulation={modulation} />
    </Suspense>
  )
}
