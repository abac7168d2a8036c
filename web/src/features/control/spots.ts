/** Where on the page the controls are that can be mapped. */

export interface Spot {
  target: string
  /** Tells apart several controls of one target. */
  index: number
  left: number
  top: number
  width: number
  height: number
}

const CLIPS = /auto|scroll|hidden|clip/
const SMALLEST = 8

/** The part of an element that is not scrolled or cut away. */
function visibleRect(node: Element): DOMRect | null {
  let { left, top, right, bottom } = node.getBoundingClientRect()
  for (let parent = node.parentElement; parent; parent = parent.parentElement) {
    const { overflowX, overflowY } = getComputedStyle(parent)
    if (!CLIPS.test(`${overflowX} ${overflowY}`)) continue
    const box = parent.getBoundingClientRect()
    left = Math.max(left, box.left)
    top = Math.max(top, box.top)
    right = Math.min(right, box.right)
    bottom = Math.min(bottom, box.bottom)
  }
  const rect = new DOMRect(left, top, right - left, bottom - top)
  return rect.width >= SMALLEST && rect.height >= SMALLEST ? rect : null
}

/** Whether something else lies over an element's middle, except the marks themselves. */
function covered(node: Element, rect: DOMRect, layer: Element | null): boolean {
  const over = document
    .elementsFromPoint(rect.x + rect.width / 2, rect.y + rect.height / 2)
    .find((candidate) => !layer?.contains(candidate))
  return over !== undefined && !node.contains(over) && !over.contains(node)
}

export function findSpots(layer: Element | null): Spot[] {
  const counts = new Map<string, number>()
  return [...document.querySelectorAll<HTMLElement>('[data-map]')].flatMap((node) => {
    const target = node.dataset.map ?? ''
    const index = counts.get(target) ?? 0
    counts.set(target, index + 1)
    if (!node.checkVisibility({ visibilityProperty: true })) return []
    const rect = visibleRect(node)
    if (!rect || covered(node, rect, layer)) return []
    const { left, top, width, height } = rect
    return [
      {
        target,
        index,
        left: Math.round(left),
        top: Math.round(top),
        width: Math.round(width),
        height: Math.round(height),
      },
    ]
  })
}
