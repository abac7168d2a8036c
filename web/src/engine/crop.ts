import type { Size } from '../schema/resolution'

export interface Rect extends Size {
  x: number
  y: number
}

/** Which part of a picture goes where when it fills (`cover`) or fits inside (`contain`) another size. */
export function cropRect(from: Size, to: Size, fit: 'cover' | 'contain'): { source: Rect; target: Rect } {
  const scaleX = to.width / from.width
  const scaleY = to.height / from.height
  const scale = fit === 'cover' ? Math.max(scaleX, scaleY) : Math.min(scaleX, scaleY)
  const width = Math.min(from.width, to.width / scale)
  const height = Math.min(from.height, to.height / scale)
  const source = { x: (from.width - width) / 2, y: (from.height - height) / 2, width, height }
  const target = {
    x: (to.width - width * scale) / 2,
    y: (to.height - height * scale) / 2,
    width: width * scale,
    height: height * scale,
  }
  return { source, target }
}
