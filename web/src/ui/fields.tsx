import { type ComponentProps, useEffect, useRef, useState } from 'react'
import { cx } from './cx'

const BOX =
  'h-7 min-w-0 rounded-1 border border-edge bg-bg0 px-2 text-12 text-fg1 hover:border-fg3 disabled:opacity-45 max-md:h-11'

export function TextInput({ className, ...rest }: ComponentProps<'input'>) {
  return <input type="text" className={cx(BOX, className)} {...rest} />
}

interface NumberInputProps {
  label: string
  value: number | null
  integer?: boolean
  min?: number | undefined
  max?: number | undefined
  step?: number
  disabled?: boolean | undefined
  testId?: string | undefined
  describedBy?: string | undefined
  className?: string
  /** Null when the box was emptied. */
  onCommit(value: number | null): void
  /** Corrects a typed value before it is committed, to a multiple for example. */
  correct?(value: number): number
  /** Called with what was typed, and with what it became. */
  onTyped?(typed: number, used: number): void
}

/** Text until Enter or blur, then a number: floats stay floats, and half-typed values are never sent. */
export function NumberInput(props: NumberInputProps) {
  const {
    label,
    value,
    integer,
    min,
    max,
    step = 1,
    disabled,
    testId,
    describedBy,
    className,
    onCommit,
    correct,
    onTyped,
  } = props
  const shown = value === null ? '' : String(value)
  const [text, setText] = useState(shown)
  const editing = useRef(false)
  useEffect(() => {
    if (!editing.current) setText(shown)
  }, [shown])

  const clamp = (raw: number) => {
    const whole = integer ? Math.round(raw) : raw
    const bounded = Math.min(max ?? Number.POSITIVE_INFINITY, Math.max(min ?? Number.NEGATIVE_INFINITY, whole))
    return correct ? correct(bounded) : bounded
  }
  const commit = () => {
    editing.current = false
    const parsed = Number(text.replace(',', '.'))
    if (text.trim() === '') {
      onCommit(null)
      setText(shown)
    } else if (Number.isFinite(parsed)) {
      const next = clamp(parsed)
      setText(String(next))
      onTyped?.(parsed, next)
      if (next !== value) onCommit(next)
    } else {
      setText(shown)
    }
  }
  const nudge = (direction: number) => {
    const next = clamp(Number(((value ?? min ?? 0) + direction * step).toPrecision(12)))
    editing.current = false
    setText(String(next))
    onCommit(next)
  }
  return (
    <input
      type="text"
      role="spinbutton"
      inputMode={integer ? 'numeric' : 'decimal'}
      aria-label={label}
      aria-valuenow={value ?? undefined}
      aria-valuemin={min}
      aria-valuemax={max}
      aria-describedby={describedBy}
      data-testid={testId}
      disabled={disabled}
      className={cx(BOX, 'num text-right', className)}
      value={text}
      onChange={(event) => {
        editing.current = true
        setText(event.target.value)
      }}
      onBlur={() => editing.current && commit()}
      onKeyDown={(event) => {
        if (event.key === 'Enter') commit()
        else if (event.key === 'Escape') {
          editing.current = false
          setText(shown)
        } else if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
          event.preventDefault()
          nudge(event.key === 'ArrowUp' ? 1 : -1)
        }
      }}
    />
  )
}
