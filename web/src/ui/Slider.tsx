import { Slider as Radix } from 'radix-ui'
import type { ReactNode } from 'react'

interface SliderProps {
  label: string
  value: number
  min: number
  max: number
  step: number
  valueText?: string | undefined
  disabled?: boolean | undefined
  testId?: string | undefined
  describedBy?: string | undefined
  /** Drawn on the track. */
  mark?: ReactNode
  onChange(value: number): void
}

export function Slider({
  label,
  value,
  min,
  max,
  step,
  valueText,
  disabled,
  testId,
  describedBy,
  mark,
  onChange,
}: SliderProps) {
  return (
    <Radix.Root
      className="relative flex h-6 w-full min-w-16 touch-none items-center select-none data-[disabled]:opacity-45"
      value={[value]}
      min={min}
      max={max}
      step={step}
      disabled={disabled ?? false}
      onValueChange={([next]) => next !== undefined && onChange(next)}
    >
      <Radix.Track className="relative h-1 grow rounded-full bg-edge/60">
        <Radix.Range className="absolute h-full rounded-full bg-accent" />
        {mark}
      </Radix.Track>
      <Radix.Thumb
        aria-label={label}
        aria-valuetext={valueText}
        aria-describedby={describedBy}
        data-testid={testId}
        className="block h-4 w-2.5 rounded-[3px] border border-bg0 bg-fg1 shadow hover:bg-focus"
      />
    </Radix.Root>
  )
}
