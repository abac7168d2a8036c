/** m:ss.cs */
export function clock(ms: number): string {
  const centis = Math.max(0, Math.floor(ms / 10))
  const seconds = Math.floor(centis / 100)
  const parts = [Math.floor(seconds / 60), String(seconds % 60).padStart(2, '0')]
  return `${parts.join(':')}.${String(centis % 100).padStart(2, '0')}`
}

/** m:ss */
export function minutes(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

/** In the units of disks and of the server's own messages: a kB is 1000 bytes. */
export function bytes(count: number): string {
  if (count < 999_500) return `${Math.max(1, Math.round(count / 1000))} kB`
  if (count < 999_950_000) return `${(count / 1e6).toFixed(1)} MB`
  return `${(count / 1e9).toFixed(1)} GB`
}

export function bytesPerSecond(rate: number | null | undefined): string | null {
  return rate === null || rate === undefined ? null : `${bytes(rate)}/s`
}

export function fixed(value: number | null | undefined, digits: number, unit = ''): string {
  return value === null || value === undefined || !Number.isFinite(value) ? '–' : `${value.toFixed(digits)}${unit}`
}

export function rate(bps: number | null | undefined): string {
  if (bps === null || bps === undefined) return '–'
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mb/s` : `${Math.round(bps / 1e3)} kb/s`
}
