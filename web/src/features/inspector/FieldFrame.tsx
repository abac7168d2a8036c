import { Pin, PinOff } from 'lucide-react'
import { type ReactNode, useId, useState } from 'react'
import { deepEqual } from '../../doc/equal'
import { t } from '../../messages'
import type { Field } from '../../schema/plan'
import { Hint } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { BESIDE, WIDGETS } from './widgets'

/** How a change takes effect. */
export function Badge({ reload }: { reload: boolean }) {
  return (
    <Hint text={reload ? t.inspector.reloadHint : t.inspector.liveHint}>
      <span
        className={cx(
          'shrink-0 rounded-[3px] border px-1 text-11 leading-4',
          reload ? 'border-line text-fg3' : 'border-ok/50 text-ok',
        )}
      >
        {reload ? t.inspector.reload : t.inspector.live}
      </span>
    </Hint>
  )
}

/** What was not taken as it was typed. */
function remark(field: Field, typed: number, used: number): string | null {
  if (typed === used) return null
  if (field.min !== undefined && typed < field.min) return t.inspector.atLeast(typed, field.min)
  if (field.max !== undefined && typed > field.max) return t.inspector.atMost(typed, field.max)
  return t.inspector.whole(typed, used)
}

interface FieldFrameProps {
  field: Field
  value: unknown
  testId: string
  changed: boolean
  badge?: boolean
  pinned?: boolean
  /** Its name as something that controllers can move. */
  target?: string | undefined
  /** The widget, where the registry has none that fits. */
  control?: ReactNode
  /** Beside its name. */
  aside?: ReactNode
  /** Under the widget. */
  below?: ReactNode
  onChange(value: unknown): void
  onReset(): void
  onPin?(): void
}

/** One parameter: name, how it takes effect, a way back to the default, and its widget. */
export function FieldFrame(props: FieldFrameProps) {
  const {
    field,
    value,
    testId,
    changed,
    badge = true,
    pinned = false,
    target,
    control,
    aside,
    below,
    onChange,
    onReset,
    onPin,
  } = props
  const hintId = useId()
  const [note, setNote] = useState<string | null>(null)
  const beside = BESIDE.has(field.widget)
  const Widget = field.widget === 'resolution' || field.widget === 'loras' ? null : WIDGETS[field.widget]
  const PinIcon = pinned ? PinOff : Pin
  const pinLabel = pinned ? t.inspector.unpin(field.label) : t.inspector.pin(field.label)
  return (
    <div data-field={field.key} data-map={target} className="group/field flex flex-col gap-1">
      <div className={cx('flex gap-1.5', beside ? 'items-center' : 'flex-col')}>
        <div className="flex min-h-6 min-w-0 flex-1 items-center gap-1.5">
          <Hint text={field.description || field.label}>
            <span className="truncate text-12 text-fg1">{field.label}</span>
          </Hint>
          {badge && <Badge reload={field.reload} />}
          {changed && (
            <button
              type="button"
              aria-label={t.common.reset(field.label)}
              title={t.common.reset(field.label)}
              onClick={onReset}
              className="grid h-6 w-6 shrink-0 place-items-center"
            >
              <span className="h-2 w-2 rounded-full bg-accent" aria-hidden />
            </button>
          )}
          {aside && <span className={cx('flex items-center gap-1', !beside && 'ml-auto')}>{aside}</span>}
          {onPin && (
            <button
              type="button"
              aria-label={pinLabel}
              title={pinLabel}
              aria-pressed={pinned}
              data-testid={`pin-${field.key}`}
              onClick={onPin}
              className={cx(
                'grid h-6 w-6 shrink-0 place-items-center text-fg3 hover:text-fg1 focus-visible:opacity-100 pointer-coarse:opacity-100',
                !beside && !aside && 'ml-auto',
                pinned ? 'text-accent' : 'opacity-0 group-focus-within/field:opacity-100 group-hover/field:opacity-100',
              )}
            >
              <PinIcon size={12} aria-hidden />
            </button>
          )}
        </div>
        <span id={hintId} className="sr-only">
          {note} {field.description} {badge && (field.reload ? t.inspector.reloadHint : t.inspector.liveHint)}
        </span>
        {Widget ? (
          <Widget
            field={field}
            value={value}
            testId={testId}
            describedBy={hintId}
            onChange={onChange}
            onTyped={(typed, used) => setNote(remark(field, typed, used))}
          />
        ) : (
          control
        )}
      </div>
      {field.presets && (
        <div className="flex flex-wrap gap-1">
          {field.presets.map((preset) => (
            <button
              key={JSON.stringify(preset)}
              type="button"
              aria-pressed={deepEqual(preset, value)}
              onClick={() => onChange(preset)}
              className="h-6 rounded-full border border-line px-2 text-11 text-fg2 hover:border-edge hover:text-fg1 aria-pressed:border-accent aria-pressed:text-accent"
            >
              {typeof preset === 'string' ? preset : JSON.stringify(preset)}
            </button>
          ))}
        </div>
      )}
      {below}
      {note && (
        <p aria-live="polite" className="text-11 text-warn">
          {note}
        </p>
      )}
    </div>
  )
}
