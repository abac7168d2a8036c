import { type CSSProperties, type ReactNode, useEffect, useRef, useState } from 'react'
import { useStore } from 'zustand'
import { FADES_MS, FITS, type OutputBridge, type OutputFit, type OutputState, transformOf } from '../../engine/output'
import { t } from '../../messages'
import { cx } from '../../ui/cx'
import { Bars } from './Bars'
import { type Display, displays, fillDisplay, knowsDisplays } from './displays'

const m = t.output
const HIDE_MS = 2000
const OBJECT_FIT: Record<OutputFit, CSSProperties['objectFit']> = {
  contain: 'contain',
  cover: 'cover',
  native: 'none',
  stretch: 'fill',
}

function fullscreen(): void {
  if (document.fullscreenElement) void document.exitFullscreen()
  else void document.documentElement.requestFullscreen().catch(() => undefined)
}

/** Controls show while the pointer moves and go away with the cursor. */
function useAwake(): boolean {
  const [awake, setAwake] = useState(true)
  useEffect(() => {
    let timer = setTimeout(() => setAwake(false), HIDE_MS)
    const wake = () => {
      setAwake(true)
      clearTimeout(timer)
      timer = setTimeout(() => setAwake(false), HIDE_MS)
    }
    window.addEventListener('pointermove', wake)
    window.addEventListener('keydown', wake)
    return () => {
      clearTimeout(timer)
      window.removeEventListener('pointermove', wake)
      window.removeEventListener('keydown', wake)
    }
  }, [])
  return awake
}

function useKeys(bridge: OutputBridge): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return
      const key = event.key.toLowerCase()
      if (key === 'f' && event.shiftKey) bridge.command('freeze')
      else if (key === 'f') fullscreen()
      else if (key === 'b') bridge.command('black')
      else if (key === 'o') window.close()
    }
    window.addEventListener('keydown', onKey)
    return () => window.removeEventListener('keydown', onKey)
  }, [bridge])
}

/** A box that, turned, fills the window; what lies in it keeps its own idea of width and height. */
function boxStyle(state: OutputState): CSSProperties {
  const across = state.turns % 2 === 1
  return {
    width: across ? '100vh' : '100vw',
    height: across ? '100vw' : '100vh',
    transform: `translate(-50%, -50%) ${transformOf(state)}`,
  }
}

function Tool({ on, children, onClick }: { on?: boolean; children: ReactNode; onClick(): void }) {
  return (
    <button
      type="button"
      aria-pressed={on}
      onClick={onClick}
      className="h-8 rounded-1 px-2.5 text-12 font-medium whitespace-nowrap text-fg1 hover:bg-bg3 aria-pressed:bg-accent aria-pressed:text-accent-ink max-md:h-11"
    >
      {children}
    </button>
  )
}

function Gap() {
  return <span className="mx-1 w-px self-stretch bg-line" aria-hidden />
}

function Displays() {
  const [found, setFound] = useState<readonly Display[] | 'refused' | null>(null)
  if (!knowsDisplays()) return null
  if (found === null) {
    return <Tool onClick={() => void displays().then((screens) => setFound(screens ?? 'refused'))}>{m.displays}</Tool>
  }
  if (found === 'refused') return <span className="px-2 text-12 text-fg2">{m.displaysRefused}</span>
  return (
    <>
      {found.map((display) => (
        <Tool key={`${display.label} ${display.width}`} onClick={() => void fillDisplay(display)}>
          {m.display(display.label || m.unnamed, display.width, display.height)}
        </Tool>
      ))}
    </>
  )
}

function Tools({ bridge, awake }: { bridge: OutputBridge; awake: boolean }) {
  const { fit, turns, flipX, flipY, fadeMs, black, frozen, bars } = useStore(bridge.store)
  const nextFade = FADES_MS[(FADES_MS.indexOf(fadeMs as (typeof FADES_MS)[number]) + 1) % FADES_MS.length] ?? 0
  return (
    <div
      role="toolbar"
      aria-label={m.tools}
      className={cx(
        'absolute bottom-4 left-1/2 flex w-max max-w-[calc(100vw-16px)] -translate-x-1/2 flex-wrap items-center justify-center gap-1 rounded-2 border border-line bg-bg1/95 p-1 transition-opacity duration-150 focus-within:opacity-100',
        !awake && 'opacity-0',
      )}
    >
      {FITS.map((id) => (
        <Tool key={id} on={fit === id} onClick={() => bridge.place({ fit: id })}>
          {m.fits[id]}
        </Tool>
      ))}
      <Gap />
      <Tool onClick={() => bridge.place({ turns: (turns + 1) % 4 })}>{m.turn(turns * 90)}</Tool>
      <Tool on={flipX} onClick={() => bridge.place({ flipX: !flipX })}>
        {m.flipX}
      </Tool>
      <Tool on={flipY} onClick={() => bridge.place({ flipY: !flipY })}>
        {m.flipY}
      </Tool>
      <Gap />
      <Tool on={black} onClick={() => bridge.command('black')}>
        {m.black}
      </Tool>
      <Tool onClick={() => bridge.place({ fadeMs: nextFade })}>{m.fade(fadeMs / 1000)}</Tool>
      <Tool on={frozen} onClick={() => bridge.command('freeze')}>
        {m.freeze}
      </Tool>
      <Tool on={bars} onClick={() => bridge.command('bars')}>
        {m.bars}
      </Tool>
      <Gap />
      <Tool onClick={fullscreen}>{m.fullscreen}</Tool>
      <Displays />
    </div>
  )
}

function Output({ bridge }: { bridge: OutputBridge }) {
  const state = useStore(bridge.store)
  const { stream, black, frozen, bars, fit, fadeMs } = state
  const video = useRef<HTMLVideoElement>(null)
  const still = useRef<HTMLCanvasElement>(null)
  const awake = useAwake()
  useKeys(bridge)
  useEffect(() => {
    const node = video.current
    if (!node || node.srcObject === stream) return
    node.srcObject = stream
    if (stream) void node.play().catch(() => undefined)
  }, [stream])
  useEffect(() => {
    const from = video.current
    const to = still.current
    if (!frozen || !from || !to || from.videoWidth === 0) return
    to.width = from.videoWidth
    to.height = from.videoHeight
    to.getContext('2d')?.drawImage(from, 0, 0)
  }, [frozen])
  const picture = { objectFit: OBJECT_FIT[fit] }
  return (
    <main className={cx('fixed inset-0 overflow-hidden bg-black', !awake && 'cursor-none')}>
      <h1 className="sr-only">{m.title}</h1>
      <div data-testid="output-box" className="absolute top-1/2 left-1/2" style={boxStyle(state)}>
        <video
          ref={video}
          data-testid="output-video"
          muted
          autoPlay
          playsInline
          aria-hidden
          style={picture}
          className={cx('absolute inset-0 h-full w-full', frozen && 'invisible')}
        />
        <canvas
          ref={still}
          aria-hidden
          style={picture}
          className={cx('absolute inset-0 h-full w-full', !frozen && 'hidden')}
        />
        {bars && <Bars />}
      </div>
      {!stream && awake && !bars && (
        <p className="absolute inset-0 grid place-items-center text-14 text-fg3">{m.waiting}</p>
      )}
      <div
        data-testid="output-black"
        data-on={black}
        style={{ transitionDuration: `${fadeMs}ms` }}
        className={cx('absolute inset-0 bg-black transition-opacity', !black && 'pointer-events-none opacity-0')}
      />
      {!knowsDisplays() && awake && (
        <p className="absolute inset-x-0 top-4 text-center text-12 text-fg3">{m.displaysByHand}</p>
      )}
      <Tools bridge={bridge} awake={awake} />
    </main>
  )
}

export function OutputPage({ bridge }: { bridge: OutputBridge | null }) {
  if (bridge) return <Output bridge={bridge} />
  return (
    <main className="grid h-full place-items-center p-6 text-center text-14 text-fg2">
      <h1 className="sr-only">{m.title}</h1>
      <p>{m.noOpener}</p>
    </main>
  )
}
