import { useCallback } from 'react'
import { scope } from '../../app'
import { useMode, useOnScreen, useSession, useUi } from '../../hooks'
import { t } from '../../messages'
import { EngineMedia } from '../../ui/EngineMedia'
import { stageElement } from '../shell/commands'
import { Hud } from './Hud'
import { IdleBackdrop } from './IdleBackdrop'
import { StageOverlay } from './StageOverlay'

/** The picture. Everything else in the page is there to change it. */
export function Stage() {
  const { state, hasStream } = useSession(({ state, stream }) => ({ state, hasStream: stream !== null }))
  const onScreen = useOnScreen()
  const mode = useMode()
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
      className="group/stage relative min-h-0 flex-1 overflow-hidden bg-black [&:fullscreen]:cursor-none"
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
      {hud && onScreen && <Hud />}
    </section>
  )
}
