import { useCallback } from 'react'
import { scope } from '../app'
import type { Meters } from '../engine/meters'

interface PaintedProps {
  paint(meters: Meters): string
  className?: string
  testId?: string
}

/** A number written straight into the page as it changes; React renders it once. `paint` must be a constant function. */
export function Painted({ paint, className, testId }: PaintedProps) {
  const attach = useCallback(
    (node: HTMLSpanElement | null) => {
      if (!node) return
      return scope.meters.subscribe((meters) => {
        const text = paint(meters)
        if (node.textContent !== text) node.textContent = text
      })
    },
    [paint],
  )
  return <span ref={attach} className={className} data-testid={testId} />
}
