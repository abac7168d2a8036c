import { Camera, Maximize, Search, TriangleAlert, X } from 'lucide-react'
import { useCallback } from 'react'
import { scope, uiStore } from '../../app'
import { useLayout, useMode, useOnScreen, useSession, useUi } from '../../hooks'
import { t } from '../../messages'
import { IconButton } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { EngineMedia } from '../../ui/EngineMedia'
import { CenterButton } from '../notices/CenterButton'
import { CountIn } from '../tempo/CountIn'
import { stageElement, takeScreenshot, toggleFullscreen } from './commands'
import { Hud } from './Hud'
import { IdleBackdrop } from './IdleBackdrop'
import { StageOverlay } from './StageOverlay'
import { Steer } from './Steer'

/** A failure beside a running stream: stays until dismissed, hides nothing of the picture's middle. */
function Problem() {
  const problem = useUi((ui) => ui.problem)
  if (!problem) return null
  return (
    <div
      role="alert"
      data-testid="problem"
      className="absolute inset-x-3 top-3 mx-auto flex max-w-xl max-md:top-14 items-center gap-2.5 rounded-1 border border-warn/70 bg-bg1/95 py-1 pr-1 pl-3 text-12"
    >
      <TriangleAlert size={15} className="shrink-0 text-warn" aria-hidden />
      <span className="min-w-0 flex-1 [overflow-wrap:anywhere]">{problem.text}</span>
      <IconButton label={t.common.dismiss} onClick={() => uiStore.setState({ problem: null })}>
        <X size={14} aria-hidden />
      </IconButton>
    </div>
  )
}

/** On a phone the header has no room for these. */
function TouchActions() {
  return (
    <div className="absolute top-2 right-2 flex gap-1">
      <CenterButton compact />
      <IconButton
        label={t.header.palette}
        size="l"
        variant="solid"
        data-testid="palette-button"
        onClick={() => uiStore.setState({ palette: true })}
      >
        <Search size={18} aria-hidden />
      </IconButton>
      <IconButton
        label={t.header.screenshot}
        size="l"
        variant="solid"
        data-testid="screenshot-button"
        onClick={() => void takeScreenshot()}
      >
        <Camera size={18} aria-hidden />
      </IconButton>
      <IconButton label={t.header.fullscreen} size="l" variant="solid" onClick={() => void toggleFullscreen()}>
        <Maximize size={18} aria-hidden />
      </IconButton>
    </div>
  )
}

/** The picture. Everything else in the page is there to change it. */
export function Stage() {
  const { state, hasStream } = useSession(({ state, stream }) => ({ state, hasStream: stream !== null }))
  const onScreen = useOnScreen()
  const mode = useMode()
  const layout = useLayout()
  const hud = useUi((ui) => ui.hud)
  const attach = useCallback((node: HTMLElement | null) => {
    stageElement.current = node
  }, [])
  const keepsPicture =
    hasStream && (onScreen || state === 'reconnecting' || state === 'loading' || state === 'stopping')
  return (
    <section
      ref={attach}
      aria-label={t.stage.title}
      className={cx(
        'relative min-h-0 flex-1 overflow-hidden bg-black',
        state === 'live' && '[&:fullscreen]:cursor-none',
      )}
    >
      {!keepsPicture && mode === 'video' && <IdleBackdrop />}
      <EngineMedia
        element={scope.frames.video}
        className="stage-media absolute inset-0"
        data={{
          'data-dim': !onScreen || state === 'stalled',
          'data-hidden': !keepsPicture && state !== 'waiting',
        }}
      />
      <Steer />
      <StageOverlay />
      <CountIn />
      <Problem />
      {layout === 'narrow' && onScreen && <TouchActions />}
      {hud && onScreen && <Hud />}
    </section>
  )
}
