/** Picture sizes: what a pipeline accepts, and the nearest one to what was typed. */

export interface SizeRule {
  multipleOf: number
  min: number
  max: number
}

export interface Size {
  width: number
  height: number
}

export const MAX_DIMENSION = 2048

export function snap(value: number, rule: SizeRule): number {
  const step = Math.max(1, Math.round(rule.multipleOf))
  const low = Math.ceil(Math.max(1, rule.min) / step) * step
  const high = Math.max(low, Math.floor(rule.max / step) * step)
  if (!Number.isFinite(value)) return low
  return Math.min(high, Math.max(low, Math.round(value / step) * step))
}

const COMMON: readonly Size[] = [
  { width: 320, height: 320 },
  { width: 448, height: 256 },
  { width: 512, height: 512 },
  { width: 576, height: 320 },
  { width: 320, height: 576 },
  { width: 640, height: 352 },
  { width: 832, height: 480 },
  { width: 1024, height: 576 },
]

/** Sizes worth offering: the pipeline's own first, then the usual ones that its rule allows. */
export function sizePresets(own: Size, rule: SizeRule): Size[] {
  const allowed = COMMON.filter(
    (size) => snap(size.width, rule) === size.width && snap(size.height, rule) === size.height,
  )
  return [own, ...allowed.filter((size) => size.width !== own.width || size.height !== own.height)]
}

/** A size has to be this much smaller to be worth trying after a failure. */
const MUCH_SMALLER = 0.7

/** The next smaller preset by area, for "use a smaller size" after an out-of-memory error. */
export function smallerSize(current: Size, rule: SizeRule): Size | null {
  const area = current.width * current.height
  const landscape = current.width >= current.height
  const fits = sizePresets(current, rule)
    .filter((size) => size.width * size.height < area * MUCH_SMALLER)
    .filter((size) => size.width === size.height || size.width >= size.height === landscape)
    .sort((a, b) => b.width * b.height - a.width * a.height)
  const preset = fits[0]
  if (preset) return preset
  const half = { width: snap(current.width / 2, rule), height: snap(current.height / 2, rule) }
  return half.width * half.height < area ? half : null
}
