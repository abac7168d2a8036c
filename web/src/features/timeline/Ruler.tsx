import { useMemo } from 'react'
import { minutes } from '../../ui/format'

const INTERVALS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300]
const MIN_LABEL_PX = 72

/** Seconds between labels so that they do not crowd at `scale` pixels per second. */
export function labelInterval(scale: number): number {
  return INTERVALS_S.find((seconds) => seconds * scale >= MIN_LABEL_PX) ?? 600
}

/** Labels come from a repeated background plus a bounded row of numbers; it never depends on the running time. */
export function Ruler({ scale }: { scale: number }) {
  const interval = labelInterval(scale)
  const step = interval * scale
  const labels = useMemo(() => Array.from({ length: 240 }, (_, i) => i * interval), [interval])
  return (
    <div
      aria-hidden
      className="absolute inset-x-0 top-0 h-6 overflow-hidden border-y border-line"
      style={{
        backgroundImage: 'linear-gradient(to right, var(--color-line) 1px, transparent 1px)',
        backgroundSize: `${step}px 100%`,
      }}
    >
      {labels.map((seconds) => (
        <span
          key={seconds}
          className="num absolute top-1 text-11 leading-4 text-fg3"
          style={{ left: `${seconds * scale + 5}px` }}
        >
          {minutes(seconds * 1000)}
        </span>
      ))}
    </div>
  )
}
