import { Camera, Maximize } from 'lucide-react'
import { useCallback } from 'react'
import { scope } from '../../app'
import { useLayout, useMode, useOnScreen, useSession, useUi } from '../../hooks'
import { t } from '../../messages'
import { IconButton } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { EngineMedia } from '../../ui/EngineMedia'
import { stageElement, takeScreenshot, toggleFullscreen } from '../shell/commands'
import { Hud } from './Hud'
import { IdleBackdrop } from './IdleBackdrop'
import { StageOverlay } from './StageOverlay'

/** On a phone the header has no room for these. */
function TouchActions() {
  const look = 'bg-bg0/70'
  return (
    <div className="absolute top-2 right-2 flex gap-1">
      <IconButton
        label={t.header.screenshot}
        size="l"
        className={look}
        data-testid="screenshot-button"
        onClick={() => void takeScreenshot()}
      >
        <Camera size={18} aria-hidden />
      </IconButton>
      <IconButton label={t.header.fullscreen} size="l" className={look} onClick={() => void toggleFullscreen()}>
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
      <StageOverlay />
      {layout === 'narrow' && onScreen && <TouchActions />}
      {hud && onScreen && <Hud />}
    </section>
  )
}
