import { useCallback } from 'react'
import { cx } from './cx'

/** Elements of the engine that no panel shows wait here: a video outside of the document would stop playing. */
function parking(): HTMLElement {
  const found = document.getElementById('media-parking')
  if (found) return found
  const made = document.createElement('div')
  made.id = 'media-parking'
  made.setAttribute('aria-hidden', 'true')
  made.style.cssText =
    'position:fixed;left:0;bottom:0;width:1px;height:1px;overflow:hidden;opacity:0;pointer-events:none'
  document.body.append(made)
  return made
}

interface EngineMediaProps {
  element: HTMLElement
  className?: string
  data?: Record<`data-${string}`, string | boolean>
}

/** Places an element that lives longer than any component. */
export function EngineMedia({ element, className, data }: EngineMediaProps) {
  const place = useCallback(
    (host: HTMLDivElement | null) => {
      if (!host) return
      host.append(element)
      if (element instanceof HTMLVideoElement) void element.play().catch(() => undefined)
      return () => {
        if (element.parentElement === host) parking().append(element)
        if (element instanceof HTMLVideoElement) void element.play().catch(() => undefined)
      }
    },
    [element],
  )
  return <div ref={place} className={cx('fill-media', className)} {...data} />
}

export function park(element: HTMLElement): void {
  parking().append(element)
}
