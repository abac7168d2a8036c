/** The value below which the share `p` of the values lies. */
export function quantile(values, p) {
  if (values.length === 0) return null
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]
}

export const median = (values) => quantile(values, 0.5)

export function mean(values) {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Standard deviation. */
export function sigma(values) {
  const middle = mean(values)
  return middle === null ? null : Math.sqrt(mean(values.map((value) => (value - middle) ** 2)))
}

/** Differences between neighbours. */
export const gaps = (times) => times.slice(1).map((time, index) => time - times[index])

export const round = (value, digits = 1) =>
  value === null || value === undefined || !Number.isFinite(value) ? null : Number(value.toFixed(digits))

/** p50, p95 and largest of latencies, rounded. */
export function spread(values) {
  return { p50: round(median(values)), p95: round(quantile(values, 0.95)), max: round(quantile(values, 1)) }
}

/** A generator of numbers in 0…1 that repeats for the same seed (mulberry32). */
export function seeded(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
