import { useCallback } from 'react'

/** Where a knob waits to be picked up, on the slider of what it is mapped to. Painted, not rendered. */
export function Ghost({ target }: { target: string | undefined }) {
  const attach = useCallback(
    (node: HTMLSpanElement | null) => {
      if (!node || target === undefined) return
      let stop: (() => void) | null = null
      let gone = false
      // Controllers are no part of what the page begins with.
      void import('./controller').then(({ controller }) => {
        if (gone) return
        stop = controller.subscribe(() => {
          const at = controller.ghostOf(target)
          node.hidden = at === null
          if (at !== null) node.style.left = `${at * 100}%`
        })
      })
      return () => {
        gone = true
        stop?.()
      }
    },
    [target],
  )
  if (target === undefined) return null
  return (
    <span
      ref={attach}
      hidden
      aria-hidden
      data-testid="ghost"
      className="pointer-events-none absolute top-1/2 h-4 w-0.5 -translate-1/2 rounded-full bg-warn"
    />
  )
}
