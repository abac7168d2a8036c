import { type KeyboardEvent, type PointerEvent, type RefObject, useRef, useState } from 'react'

/** Putting the items of a short list in another order: by dragging a handle, or with the arrow keys on it. */

/** Before this much nothing is dragged: a click is no drag. */
const MIN_DRAG_PX = 3

interface Drag {
  from: number
  to: number
}

export interface Reorder {
  list: RefObject<HTMLOListElement | null>
  /** The item that is dragged, and its place if it is let go now. */
  drag: Drag | null
  /** What the handle of an item needs. */
  handle(index: number): {
    onPointerDown(event: PointerEvent<HTMLElement>): void
    onPointerMove(event: PointerEvent<HTMLElement>): void
    onPointerUp(): void
    onPointerCancel(): void
    onKeyDown(event: KeyboardEvent<HTMLElement>): void
  }
}

export function useReorder(move: (from: number, by: number) => void): Reorder {
  const list = useRef<HTMLOListElement>(null)
  const start = useRef<number | null>(null)
  const [drag, setDrag] = useState<Drag | null>(null)
  const end = () => {
    start.current = null
    setDrag(null)
  }

  /** How many of the others are above. */
  const placeAt = (from: number, y: number) =>
    [...(list.current?.children ?? [])].filter((item, index) => {
      const { top, height } = item.getBoundingClientRect()
      return index !== from && top + height / 2 < y
    }).length

  return {
    list,
    drag,
    handle: (index) => ({
      onPointerDown: (event) => {
        if (event.button !== 0) return
        event.currentTarget.setPointerCapture(event.pointerId)
        start.current = event.clientY
      },
      onPointerMove: (event) => {
        if (start.current === null) return
        if (!drag && Math.abs(event.clientY - start.current) < MIN_DRAG_PX) return
        const to = placeAt(index, event.clientY)
        if (drag?.to !== to) setDrag({ from: index, to })
      },
      onPointerUp: () => {
        if (drag && drag.to !== drag.from) move(drag.from, drag.to - drag.from)
        end()
      },
      onPointerCancel: end,
      onKeyDown: (event) => {
        const by = event.key === 'ArrowUp' ? -1 : event.key === 'ArrowDown' ? 1 : 0
        if (by !== 0) {
          event.preventDefault()
          move(index, by)
        } else if (event.key === 'Escape' && start.current !== null) {
          event.stopPropagation()
          end()
        }
      },
    }),
  }
}
