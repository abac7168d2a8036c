import { Minus, Plus, X } from 'lucide-react'
import { type ReactNode, useEffect, useRef, useState } from 'react'
import type { Params } from '../../api/types'
import { deepEqual } from '../../doc/equal'
import { t } from '../../messages'
import type { Field, Widget } from '../../schema/plan'
import { IconButton } from '../../ui/Button'
import { Segmented, Select, Switch } from '../../ui/controls'
import { NumberInput, TextInput } from '../../ui/fields'
import { Slider } from '../../ui/Slider'
import { Ghost } from '../control/Ghost'
import { fieldTarget } from '../control/ids'
import { SwingMark } from '../tempo/Swing'
import { AssetWidget } from './AssetWidget'
import { FieldFrame } from './FieldFrame'
import { useNode } from './node'

export interface WidgetProps {
  field: Field
  value: unknown
  testId: string
  describedBy: string
  onChange(value: unknown): void
  /** What was typed, and what it became. */
  onTyped?: ((typed: number, used: number) => void) | undefined
}

const asNumber = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) ? value : null)
const withUnit = (value: number, unit: string) => (unit ? `${value} ${unit}` : String(value))

function SliderWidget({ field, value, testId, describedBy, onChange, onTyped }: WidgetProps) {
  const min = field.min ?? 0
  const max = field.max ?? 1
  const node = useNode()
  const target = fieldTarget(node, field)
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
        mark={
          <>
            <Ghost target={target} />
            <SwingMark node={node} field={field} />
          </>
        }
        onChange={onChange}
      />
      <NumberInput
        label={field.label}
        value={current}
        integer={field.integer}
        min={min}
        max={max}
        step={field.step}
        describedBy={describedBy}
        testId={`${testId}-value`}
        className="w-16"
        onCommit={(next) => onChange(next ?? field.default)}
        {...(onTyped ? { onTyped } : {})}
      />
      {field.unit && <span className="text-11 text-fg3">{field.unit}</span>}
    </div>
  )
}

function NumberWidget({ field, value, testId, describedBy, onChange, onTyped }: WidgetProps) {
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
        {...(onTyped ? { onTyped } : {})}
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
  const tags = Array.isArray(value) ? value.map(String) : []
  const [text, setText] = useState('')
  const { min = 0, max = 0 } = field.items ?? {}
  const add = () => {
    const added = text
      .split(',')
      .map((tag) => tag.trim())
      .filter((tag) => tag !== '' && !tags.includes(tag))
    setText('')
    if (added.length > 0) onChange([...tags, ...new Set(added)].slice(0, max))
  }
  return (
    <div className="flex flex-wrap items-center gap-1">
      {tags.map((tag) => (
        <span key={tag} className="flex h-6 items-center rounded-[3px] border border-line bg-bg3 pl-1.5 text-12">
          <span className="max-w-40 truncate">{tag}</span>
          <button
            type="button"
            aria-label={t.inspector.tagRemove(tag)}
            disabled={tags.length <= min}
            className="grid h-6 w-6 place-items-center text-fg3 hover:text-fg1"
            onClick={() => onChange(tags.filter((other) => other !== tag))}
          >
            <X size={12} aria-hidden />
          </button>
        </span>
      ))}
      <TextInput
        aria-label={field.label}
        aria-describedby={describedBy}
        data-testid={testId}
        placeholder={t.inspector.tagAdd}
        className="min-w-24 flex-1"
        disabled={tags.length >= max}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onBlur={add}
        onKeyDown={(event) => {
          if (event.key === 'Enter') add()
          else if (event.key === 'Backspace' && text === '' && tags.length > min) onChange(tags.slice(0, -1))
        }}
      />
    </div>
  )
}

/** Steps of a sampler; a list of numbers may be longer. */
const MAX_STEPS = 10

/** Moves one step and pushes its neighbours, so that the list stays strictly descending. */
export function moveStep(steps: readonly number[], index: number, to: number, min: number, max: number): number[] {
  const next = [...steps]
  next[index] = Math.min(max - index, Math.max(min + (steps.length - 1 - index), Math.round(to)))
  for (let i = index - 1; i >= 0; i--) next[i] = Math.max(next[i] ?? max, (next[i + 1] ?? min) + 1)
  for (let i = index + 1; i < next.length; i++) next[i] = Math.min(next[i] ?? min, (next[i - 1] ?? max) - 1)
  return next
}

function StepsWidget({ field, value, testId, describedBy, onChange }: WidgetProps) {
  const steps = Array.isArray(value) ? value.filter((step): step is number => typeof step === 'number') : []
  const { min, max, descending = false } = field
  const bounded = min !== undefined && max !== undefined
  const [low, high] = [min ?? 0, max ?? 1000]
  const last = steps.at(-1) ?? (descending ? high : low)
  const limit = descending ? Math.min(MAX_STEPS, field.items?.max ?? MAX_STEPS) : (field.items?.max ?? MAX_STEPS)
  const least = Math.max(descending ? 1 : 0, field.items?.min ?? 0)
  const set = (index: number, to: number) =>
    onChange(descending ? moveStep(steps, index, to, low, high) : steps.map((step, i) => (i === index ? to : step)))
  return (
    <fieldset
      data-testid={testId}
      aria-label={field.label}
      aria-describedby={describedBy}
      className="m-0 min-w-0 border-0 p-0"
    >
      {steps.map((step, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a step is its position
        <div key={index} className="flex items-center gap-2.5">
          {bounded && (
            <Slider
              label={t.inspector.step(index + 1)}
              testId={`${testId}-${index}`}
              value={step}
              min={low}
              max={high}
              step={field.integer ? 1 : field.step}
              onChange={(next) => set(index, next)}
            />
          )}
          <NumberInput
            label={t.inspector.step(index + 1)}
            testId={`${testId}-${index}-value`}
            value={step}
            integer={field.integer}
            min={min}
            max={max}
            step={field.step}
            className="my-0.5 w-16"
            onCommit={(next) => next !== null && set(index, next)}
          />
        </div>
      ))}
      <div className="mt-1 flex gap-1">
        <IconButton
          label={t.inspector.addStep}
          className="max-md:h-11 max-md:w-11"
          disabled={steps.length >= limit || (descending && last <= low + 1)}
          onClick={() => onChange([...steps, descending ? Math.max(low, Math.round(last / 2)) : last])}
        >
          <Plus size={14} aria-hidden />
        </IconButton>
        <IconButton
          label={t.inspector.removeStep}
          className="max-md:h-11 max-md:w-11"
          disabled={steps.length <= least}
          onClick={() => onChange(steps.slice(0, -1))}
        >
          <Minus size={14} aria-hidden />
        </IconButton>
      </div>
    </fieldset>
  )
}

/** The fields of an object, whose value is sent whole. */
function GroupWidget({ field, value, testId, onChange }: WidgetProps) {
  const current = (typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}) as Params
  return (
    <fieldset
      data-testid={testId}
      aria-label={field.label}
      className="m-0 flex min-w-0 flex-col gap-2.5 border-0 border-l-2 border-line py-0.5 pr-0 pl-2.5"
    >
      {field.children?.map((child) => (
        <FieldFrame
          key={child.key}
          field={child}
          value={child.key in current ? current[child.key] : child.default}
          testId={`${testId}-${child.key}`}
          changed={child.key in current && !deepEqual(current[child.key], child.default)}
          badge={false}
          onChange={(next) => onChange({ ...current, [child.key]: next })}
          onReset={() => onChange({ ...current, [child.key]: child.default })}
        />
      ))}
    </fieldset>
  )
}

function JsonWidget({ value, testId }: WidgetProps) {
  return (
    <div>
      <pre
        tabIndex={0}
        data-testid={testId}
        className="num m-0 max-h-40 overflow-auto rounded-1 bg-bg0 p-2 text-11 text-fg2"
      >
        {JSON.stringify(value, null, 1)}
      </pre>
      <p className="mt-1 text-11 text-fg3">{t.inspector.readOnly}</p>
    </div>
  )
}

/** Which component draws which widget. A plugin's field needs no entry: the planner falls back to its JSON type. */
export const WIDGETS: Record<Exclude<Widget, 'resolution' | 'loras'>, (props: WidgetProps) => ReactNode> = {
  slider: SliderWidget,
  number: NumberWidget,
  switch: SwitchWidget,
  segmented: ChoiceWidget,
  select: ChoiceWidget,
  text: TextWidget,
  tags: TagsWidget,
  steps: StepsWidget,
  asset: AssetWidget,
  group: GroupWidget,
  json: JsonWidget,
}

/** Widgets small enough to stand on the line of their label. */
export const BESIDE: ReadonlySet<Widget> = new Set(['switch', 'number'])
