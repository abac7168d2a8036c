import { useCallback, useEffect, useRef, useState } from 'react'
import { useStore } from 'zustand'
import type { OutputBridge, OutputFit } from '../../engine/output'
import { t } from '../../messages'
import { cx } from '../../ui/cx'

const HIDE_MS = 2000
const FITS: readonly OutputFit[] = ['contain', 'cover', 'native']
const FIT_CLASS: Record<OutputFit, string> = { contain: 'object-contain', cover: 'object-cover', native: 'object-none' }

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

function Output({ bridge }: { bridge: OutputBridge }) {
  const { stream, black, frozen, fit } = useStore(bridge.store)
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
  const attachFit = useCallback((next: OutputFit) => bridge.store.setState({ fit: next }), [bridge])
  const button =
    'h-8 rounded-1 px-3 text-12 font-medium text-fg1 hover:bg-bg3 aria-pressed:bg-accent aria-pressed:text-accent-ink'
  return (
    <main className={cx('fixed inset-0 bg-black', !awake && 'cursor-none')}>
      <h1 className="sr-only">{t.output.title}</h1>
      <video
        ref={video}
        data-testid="output-video"
        muted
        autoPlay
        playsInline
        aria-hidden
        className={cx('absolute inset-0 h-full w-full', FIT_CLASS[fit], frozen && 'invisible')}
      />
      <canvas
        ref={still}
        aria-hidden
        className={cx('absolute inset-0 h-full w-full', FIT_CLASS[fit], !frozen && 'hidden')}
      />
      {!stream && awake && (
        <p className="absolute inset-0 grid place-items-center text-14 text-fg3">{t.output.waiting}</p>
      )}
      <div
        data-testid="output-black"
        data-on={black}
        className={cx(
          'absolute inset-0 bg-black transition-opacity duration-150',
          !black && 'pointer-events-none opacity-0',
        )}
      />
      <div
        className={cx(
          'absolute bottom-4 left-1/2 flex -translate-x-1/2 gap-1 rounded-2 border border-line bg-bg1/90 p-1 transition-opacity duration-150 focus-within:opacity-100',
          !awake && 'opacity-0',
        )}
      >
        {FITS.map((id) => (
          <button key={id} type="button" className={button} aria-pressed={fit === id} onClick={() => attachFit(id)}>
            {t.output.fits[id]}
          </button>
        ))}
        <button type="button" className={button} aria-pressed={black} onClick={() => bridge.command('black')}>
          {t.output.black}
        </button>
        <button type="button" className={button} aria-pressed={frozen} onClick={() => bridge.command('freeze')}>
          {t.output.freeze}
        </button>
        <button type="button" className={button} onClick={fullscreen}>
          {t.output.fullscreen}
        </button>
      </div>
    </main>
  )
}

export function OutputPage({ bridge }: { bridge: OutputBridge | null }) {
  if (bridge) return <Output bridge={bridge} />
  return (
    <main className="grid h-full place-items-center p-6 text-center text-14 text-fg2">
      <h1 className="sr-only">{t.output.title}</h1>
      <p>{t.output.noOpener}</p>
    </main>
  )
}
