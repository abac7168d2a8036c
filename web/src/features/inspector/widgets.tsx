import { Minus, Plus } from 'lucide-react'
import { type ReactNode, useEffect, useRef, useState } from 'react'
import { t } from '../../messages'
import type { Field, Widget } from '../../schema/plan'
import { IconButton } from '../../ui/Button'
import { Segmented, Select, Switch } from '../../ui/controls'
import { NumberInput, TextInput } from '../../ui/fields'
import { Slider } from '../../ui/Slider'
import { AssetWidget } from './AssetWidget'

export interface WidgetProps {
  field: Field
  value: unknown
  testId: string
  describedBy: string
  onChange(value: unknown): void
}

const asNumber = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) ? value : null)
const withUnit = (value: number, unit: string) => (unit ? `${value} ${unit}` : String(value))

function SliderWidget({ field, value, testId, describedBy, onChange }: WidgetProps) {
  const min = field.min ?? 0
  const max = field.max ?? 1
  const current = asNumber(value) ?? asNumber(field.default) ?? min
  return (
    <div className="flex items-center gap-2.5">
      <Slider
        label={field.label}
        testId={testId}
        describedBy={describedBy}
        value={current}
        min={min}
        max={max}
        step={field.step}
        valueText={withUnit(current, field.unit)}
        onChange={onChange}
      />
      <NumberInput
        label={field.label}
        value={current}
        integer={field.integer}
        min={min}
        max={max}
        step={field.step}
        className="w-16"
        onCommit={(next) => onChange(next ?? field.default)}
      />
      {field.unit && <span className="text-11 text-fg3">{field.unit}</span>}
    </div>
  )
}

function NumberWidget({ field, value, testId, describedBy, onChange }: WidgetProps) {
  return (
    <span className="flex items-center gap-1.5">
      <NumberInput
        label={field.label}
        testId={testId}
        describedBy={describedBy}
        value={asNumber(value)}
        integer={field.integer}
        min={field.min}
        max={field.max}
        step={field.step}
        className="w-24"
        onCommit={(next) => onChange(next ?? (field.nullable ? null : field.default))}
      />
      {field.unit && <span className="text-11 text-fg3">{field.unit}</span>}
    </span>
  )
}

function SwitchWidget({ field, value, testId, describedBy, onChange }: WidgetProps) {
  return (
    <Switch
      label={field.label}
      testId={testId}
      describedBy={describedBy}
      checked={value === true}
      onChange={onChange}
    />
  )
}

const optionKey = (value: unknown) => JSON.stringify(value)

function ChoiceWidget({ field, value, testId, onChange }: WidgetProps) {
  const options = field.options.map((option) => ({ value: optionKey(option.value), label: option.label }))
  const Control = field.widget === 'segmented' ? Segmented : Select
  return (
    <Control
      label={field.label}
      testId={testId}
      value={optionKey(value ?? null)}
      options={options}
      onChange={(key) => onChange(field.options.find((option) => optionKey(option.value) === key)?.value ?? null)}
    />
  )
}

const TEXT_DELAY_MS = 400

/** Text reaches the server on Enter, on leaving the box, or after a pause in typing; never on every key. */
function TextWidget({ field, value, testId, describedBy, onChange }: WidgetProps) {
  const shown = typeof value === 'string' ? value : ''
  const [text, setText] = useState(shown)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEffect(() => setText(shown), [shown])
  useEffect(() => () => clearTimeout(timer.current), [])
  const commit = (next: string) => {
    clearTimeout(timer.current)
    if (next !== shown) onChange(next)
  }
  return (
    <TextInput
      aria-label={field.label}
      aria-describedby={describedBy}
      data-testid={testId}
      value={text}
      onChange={(event) => {
        const next = event.target.value
        setText(next)
        clearTimeout(timer.current)
        if (!field.reload) timer.current = setTimeout(() => commit(next), TEXT_DELAY_MS)
      }}
      onBlur={() => commit(text)}
      onKeyDown={(event) => event.key === 'Enter' && commit(text)}
    />
  )
}

function TagsWidget({ field, value, testId, describedBy, onChange }: WidgetProps) {
  const shown = Array.isArray(value) ? value.join(', ') : ''
  const [text, setText] = useState(shown)
  useEffect(() => setText(shown), [shown])
  const commit = () => {
    const tags = text
      .split(',')
      .map((tag) => tag.trim())
      .filter(Boolean)
    if (tags.join(', ') !== shown) onChange(tags)
  }
  return (
    <TextInput
      aria-label={field.label}
      aria-describedby={describedBy}
      data-testid={testId}
      placeholder={t.inspector.tagsHint}
      value={text}
      onChange={(event) => setText(event.target.value)}
      onBlur={commit}
      onKeyDown={(event) => event.key === 'Enter' && commit()}
    />
  )
}

const MAX_STEPS = 10

/** Moves one step and pushes its neighbours, so that the list stays strictly descending. */
export function moveStep(steps: readonly number[], index: number, to: number, min: number, max: number): number[] {
  const next = [...steps]
  next[index] = Math.min(max - index, Math.max(min + (steps.length - 1 - index), Math.round(to)))
  for (let i = index - 1; i >= 0; i--) next[i] = Math.max(next[i] ?? max, (next[i + 1] ?? min) + 1)
  for (let i = index + 1; i < next.length; i++) next[i] = Math.min(next[i] ?? min, (next[i - 1] ?? max) - 1)
  return next
}

function StepsWidget({ field, value, testId, onChange }: WidgetProps) {
  const steps = Array.isArray(value) ? value.filter((step): step is number => typeof step === 'number') : []
  const min = field.min ?? 0
  const max = field.max ?? 1000
  const last = steps.at(-1) ?? max
  return (
    <fieldset data-testid={testId} aria-label={field.label} className="m-0 min-w-0 border-0 p-0">
      {steps.map((step, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a step is its position
        <div key={index} className="flex items-center gap-2.5">
          <Slider
            label={t.inspector.step(index + 1)}
            value={step}
            min={min}
            max={max}
            step={field.integer ? 1 : field.step}
            onChange={(next) => onChange(moveStep(steps, index, next, min, max))}
          />
          <span className="num w-10 text-right text-12 text-fg2">{step}</span>
        </div>
      ))}
      <div className="mt-1 flex gap-1">
        <IconButton
          label={t.inspector.addStep}
          disabled={steps.length >= MAX_STEPS || last <= min + 1}
          onClick={() => onChange([...steps, Math.max(min, Math.round(last / 2))])}
        >
          <Plus size={14} aria-hidden />
        </IconButton>
        <IconButton
          label={t.inspector.removeStep}
          disabled={steps.length <= 1}
          onClick={() => onChange(steps.slice(0, -1))}
        >
          <Minus size={14} aria-hidden />
        </IconButton>
      </div>
    </fieldset>
  )
}

function JsonWidget({ value, testId }: WidgetProps) {
  return (
    <pre
      data-testid={testId}
      title={t.inspector.readOnly}
      className="num m-0 overflow-auto rounded-1 bg-bg0 p-2 text-11 text-fg2"
    >
      {JSON.stringify(value, null, 1)}
    </pre>
  )
}

/** Which component draws which widget. A plugin's field needs no entry: the planner falls back to its JSON type. */
export const WIDGETS: Record<Exclude<Widget, 'resolution'>, (props: WidgetProps) => ReactNode> = {
  slider: SliderWidget,
  number: NumberWidget,
  switch: SwitchWidget,
  segmented: ChoiceWidget,
  select: ChoiceWidget,
  text: TextWidget,
  tags: TagsWidget,
  steps: StepsWidget,
  asset: AssetWidget,
  json: JsonWidget,
}

/** Widgets small enough to stand on the line of their label. */
export const BESIDE: ReadonlySet<Widget> = new Set(['switch', 'number'])
