import { useCallback } from 'react'
import { scope } from '../../app'
import { cropRect } from '../../engine/crop'

const WIDTH = 192
const HEIGHT = 108
const INTERVAL_MS = 80

/** The input, small and soft, behind the Start button: the page moves before anything is generated. */
export function IdleBackdrop() {
  const attach = useCallback((canvas: HTMLCanvasElement | null) => {
    const context = canvas?.getContext('2d', { alpha: false })
    if (!context) return
    const { video } = scope.source
    const timer = setInterval(() => {
      if (video.videoWidth === 0 || document.hidden) return
      const { source } = cropRect(
        { width: video.videoWidth, height: video.videoHeight },
        { width: WIDTH, height: HEIGHT },
        'cover',
      )
      context.drawImage(video, source.x, source.y, source.width, source.height, 0, 0, WIDTH, HEIGHT)
    }, INTERVAL_MS)
    return () => clearInterval(timer)
  }, [])
  return (
    <canvas
      ref={attach}
      width={WIDTH}
      height={HEIGHT}
      aria-hidden
      className="absolute inset-0 h-full w-full scale-110 object-cover opacity-35 blur-md saturate-[0.8]"
    />
  )
}
