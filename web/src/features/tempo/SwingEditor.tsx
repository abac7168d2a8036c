import { Trash2 } from 'lucide-react'
import { type Modulation, RATES, type Rate, SHAPES, type Shape } from '../../doc/tempo'
import type { ChainNode } from '../../engine/chain'
import { wave } from '../../engine/modulation'
import { useDoc } from '../../hooks'
import { t } from '../../messages'
import type { Field } from '../../schema/plan'
import { IconButton } from '../../ui/Button'
import { Select, Switch } from '../../ui/controls'
import { NumberInput } from '../../ui/fields'
import { Slider } from '../../ui/Slider'
import { changeSwing, deepest, removeSwing } from './swings'

const m = t.modulation
const STEPS = 48

/** Two periods of a shape. */
function Curve({ shape, depth }: { shape: Shape; depth: number }) {
  const points = Array.from({ length: 2 * STEPS + 1 }, (_, i) => {
    const y = 12 - 10 * depth * wave(shape, (i / STEPS) % 1)
    return `${((i / (2 * STEPS)) * 96).toFixed(1)},${y.toFixed(1)}`
  })
  return (
    <svg viewBox="0 0 96 24" className="h-6 w-24 shrink-0" aria-hidden>
      <line x1="0" x2="96" y1="12" y2="12" className="stroke-line" />
      <polyline points={points.join(' ')} fill="none" className="stroke-warn" strokeWidth="1.5" />
    </svg>
  )
}

interface Props {
  node: ChainNode
  field: Field
  modulation: Modulation
}

/** How a parameter swings. */
export default function SwingEditor({ node, field, modulation }: Props) {
  const { on, shape, rate, depth, min, max } = modulation
  const beating = useDoc(({ tempo }) => tempo.on)
  const change = (next: Partial<Modulation>) => changeSwing(node, field, next)
  const most = deepest(field)
  const step = most / 100
  return (
    <fieldset
      data-testid="swing-editor"
      aria-label={m.open(field.label)}
      className="m-0 flex min-w-0 flex-col gap-2 rounded-1 border border-line bg-bg2 p-2.5"
    >
      <div className="flex items-center gap-2">
        <Switch label={m.on(field.label)} testId="swing-on" checked={on} onChange={(next) => change({ on: next })} />
        <Curve shape={shape} depth={most > 0 ? depth / most : 0} />
        <IconButton
          label={m.remove(field.label)}
          className="ml-auto max-md:h-11 max-md:w-11"
          onClick={() => removeSwing(node, field)}
        >
          <Trash2 size={14} aria-hidden />
        </IconButton>
      </div>
      <div className="grid grid-cols-2 gap-2">
        <Select
          label={m.shape}
          testId="swing-shape"
          value={shape}
          options={SHAPES.map((value) => ({ value, label: m.shapes[value] }))}
          onChange={(next) => change({ shape: next as Shape })}
        />
        <Select
          label={m.rate}
          testId="swing-rate"
          value={rate}
          options={RATES.map((value) => ({ value, label: m.rates[value] }))}
          onChange={(next) => change({ rate: next as Rate })}
        />
      </div>
      <div className="flex items-center gap-2.5">
        <span className="w-12 shrink-0 text-12 text-fg2">{m.depth}</span>
        <Slider
          label={m.depth}
          testId="swing-depth"
          value={depth}
          min={0}
          max={most}
          step={step}
          valueText={m.depthText(depth.toFixed(2))}
          onChange={(next) => change({ depth: Number(next.toPrecision(3)) })}
        />
        <NumberInput
          label={m.depth}
          testId="swing-depth-value"
          value={depth}
          min={0}
          max={most}
          step={step}
          className="w-16"
          onCommit={(next) => next !== null && change({ depth: next })}
        />
      </div>
      <div className="grid grid-cols-2 gap-2">
        {(
          [
            ['min', m.lowest, min],
            ['max', m.highest, max],
          ] as const
        ).map(([key, label, value]) => (
          <span key={key} className="flex min-w-0 items-center gap-2 text-12 text-fg2">
            <span className="shrink-0">{label}</span>
            <NumberInput
              label={label}
              testId={`swing-${key}`}
              value={value ?? field[key] ?? null}
              min={field.min}
              max={field.max}
              step={field.step}
              className="w-full"
              onCommit={(next) => change({ [key]: next === field[key] ? null : next })}
            />
          </span>
        ))}
      </div>
      {on && !beating && <p className="text-11 text-warn">{t.tempo.needsTempo}</p>}
    </fieldset>
  )
}
