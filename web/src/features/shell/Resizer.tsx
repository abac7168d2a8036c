import { type KeyboardEvent, type PointerEvent, useRef } from 'react'

interface ResizerProps {
  label: string
  value: number
  min: number
  max: number
  initial: number
  /** Whether dragging right makes the panel wider (left panel) or narrower (right panel). */
  grows: 'right' | 'left'
  onChange(width: number): void
}

const STEP = 16

/** Divider between panels: drag, arrow keys, double-click for the initial width. */
export function Resizer({ label, value, min, max, initial, grows, onChange }: ResizerProps) {
  const drag = useRef<{ x: number; width: number } | null>(null)
  const sign = grows === 'right' ? 1 : -1
  const set = (width: number) => onChange(Math.min(max, Math.max(min, Math.round(width))))
  const down = (event: PointerEvent<HTMLDivElement>) => {
    event.currentTarget.setPointerCapture(event.pointerId)
    drag.current = { x: event.clientX, width: value }
  }
  const move = (event: PointerEvent) => {
    if (drag.current) set(drag.current.width + sign * (event.clientX - drag.current.x))
  }
  const key = (event: KeyboardEvent) => {
    if (event.key === 'ArrowRight') set(value + sign * STEP)
    else if (event.key === 'ArrowLeft') set(value - sign * STEP)
  }
  return (
    <div
      role="separator"
      tabIndex={0}
      aria-label={label}
      aria-orientation="vertical"
      aria-valuenow={value}
      aria-valuemin={min}
      aria-valuemax={max}
      onPointerDown={down}
      onPointerMove={move}
      onPointerUp={() => {
        drag.current = null
      }}
      onDoubleClick={() => onChange(initial)}
      onKeyDown={key}
      className="relative z-10 w-px shrink-0 cursor-col-resize touch-none bg-line before:absolute before:inset-y-0 before:-left-1 before:w-2.5 hover:bg-accent focus-visible:bg-accent"
    />
  )
}
