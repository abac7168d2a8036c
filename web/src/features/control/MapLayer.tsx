import { Keyboard, ListTree, MousePointerClick, X } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import { createPortal } from 'react-dom'
import { useStore } from 'zustand'
import { uiStore } from '../../app'
import { useUi } from '../../hooks'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { openSettings } from '../settings/commands'
import { controller, midi, setMapping, sourceLabel } from './controller'
import { findSpots, type Spot } from './spots'
import { targetOf } from './targets'

const m = t.controllers
const LOOK_MS = 300

/** The places of all controls; they are looked for again now and then, because anything can move them. */
function useSpots(layer: () => Element | null): readonly Spot[] {
  const [spots, setSpots] = useState<readonly Spot[]>([])
  useEffect(() => {
    let known = ''
    const look = () => {
      const found = findSpots(layer())
      const text = JSON.stringify(found)
      if (text === known) return
      known = text
      setSpots(found)
    }
    look()
    const timer = setInterval(look, LOOK_MS)
    window.addEventListener('resize', look)
    window.addEventListener('scroll', look, true)
    return () => {
      clearInterval(timer)
      window.removeEventListener('resize', look)
      window.removeEventListener('scroll', look, true)
    }
  }, [layer])
  return spots
}

function Mark({ spot }: { spot: Spot }) {
  const { target, left, top, width, height } = spot
  const learning = useStore(controller.store, (state) => state.learning === target)
  const mapped = useStore(controller.store, () =>
    controller.mappings
      .filter((mapping) => mapping.target === target)
      .map(({ source }) => sourceLabel(source))
      .join(', '),
  )
  const label = targetOf(target)?.label ?? ''
  return (
    <button
      type="button"
      data-testid={`map-${target}`}
      aria-pressed={learning}
      aria-label={learning ? m.marking(label) : mapped ? m.markMapped(label, mapped) : m.mark(label)}
      onClick={() => controller.learn(learning ? null : target)}
      style={{ left, top, width, height }}
      className={cx(
        'pointer-events-auto absolute grid place-items-center overflow-hidden rounded-1 border-2 text-11 font-semibold',
        learning
          ? 'animate-pulse-live border-warn bg-warn/30'
          : mapped
            ? 'border-accent bg-accent/25 hover:bg-accent/40'
            : 'border-accent/60 bg-accent/10 hover:bg-accent/30',
      )}
    >
      {(learning || mapped) && (
        <span className="num max-w-full truncate rounded-[3px] bg-bg0/90 px-1 text-fg1" aria-hidden>
          {learning ? m.move : mapped}
        </span>
      )}
    </button>
  )
}

function Bar() {
  const learning = useStore(controller.store, (state) => state.learning)
  const { state, inputs } = useStore(midi.store)
  const label = learning === null ? null : (targetOf(learning)?.label ?? '')
  return (
    <section
      aria-label={m.mapMode}
      data-testid="map-bar"
      className="pointer-events-auto absolute top-14 left-1/2 flex w-max max-w-[calc(100vw-16px)] -translate-x-1/2 items-center gap-3 rounded-2 border border-accent bg-bg1 py-1.5 pr-1.5 pl-3 text-13 shadow-2xl shadow-black/70 max-md:top-auto max-md:bottom-16 max-md:flex-wrap"
    >
      {label === null ? (
        <MousePointerClick size={16} className="shrink-0 text-accent" aria-hidden />
      ) : (
        <Keyboard size={16} className="shrink-0 text-warn" aria-hidden />
      )}
      <div className="min-w-0">
        <p role="status" className="font-medium">
          {label === null ? m.choose : m.moveFor(label)}
        </p>
        <p className="text-12 text-fg2">{state === 'on' && inputs.length > 0 ? inputs.join(' · ') : m.states[state]}</p>
      </div>
      <Button
        variant="outline"
        className="max-md:h-11"
        onClick={() => {
          setMapping(false)
          openSettings('controllers')
        }}
      >
        <ListTree size={14} aria-hidden />
        {m.edit}
      </Button>
      <IconButton label={m.done} shortcut="Esc" className="max-md:h-11 max-md:w-11" onClick={() => setMapping(false)}>
        <X size={16} aria-hidden />
      </IconButton>
    </section>
  )
}

function Layer() {
  const layer = useRef<HTMLDivElement>(null)
  const [find] = useState(() => () => layer.current)
  const spots = useSpots(find)
  return createPortal(
    <div ref={layer} data-testid="map-layer" className="pointer-events-none fixed inset-0 z-[45]">
      <div className="absolute inset-0 bg-bg0/40" aria-hidden />
      {spots.map((spot) => (
        <Mark key={`${spot.target} ${spot.index}`} spot={spot} />
      ))}
      <Bar />
    </div>,
    document.body,
  )
}

/** Marks what can be mapped: choose a control, then move a knob, hit a pad or press a key. */
export function MapLayer() {
  const mapping = useUi((ui) => ui.mapping)
  useEffect(() => {
    if (mapping) uiStore.setState({ palette: false, settings: null, sheet: false })
  }, [mapping])
  return mapping ? <Layer /> : null
}
