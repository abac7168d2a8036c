import { ArrowRight, Trash2 } from 'lucide-react'
import { type ReactNode, useCallback, useState } from 'react'
import { CURVES, type Mapping, type MapSource, modesFor, TAKE_OVERS } from '../../engine/mapping'
import { t } from '../../messages'
import { IconButton } from '../../ui/Button'
import { Select, Switch } from '../../ui/controls'
import { NumberInput } from '../../ui/fields'
import { controller, sourceLabel, targetLabel } from './controller'
import { targetOf } from './targets'

const m = t.controllers
const KNOBS: readonly MapSource['kind'][] = ['cc', 'cc14', 'endless', 'endless64']
const percent = (value: number) => Math.round(value * 100)

/** Where the hardware is, painted as it moves. */
function Position({ id }: { id: string }) {
  const attach = useCallback(
    (node: HTMLSpanElement | null) => {
      if (!node) return
      return controller.subscribe(() => {
        node.style.width = `${(controller.positionOf(id) ?? 0) * 100}%`
      })
    },
    [id],
  )
  return (
    <span className="block h-1 overflow-hidden rounded-full bg-bg0" aria-hidden>
      <span ref={attach} className="block h-full w-0 bg-accent" />
    </span>
  )
}

function Setting({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div className="flex min-w-0 flex-col gap-0.5">
      <span className="text-11 text-fg3" aria-hidden>
        {label}
      </span>
      {children}
    </div>
  )
}

interface ChoiceProps<T extends string> {
  label: string
  value: T
  values: readonly T[]
  names: Record<T, string>
  onChange(value: T): void
}

function Choice<T extends string>({ label, value, values, names, onChange }: ChoiceProps<T>) {
  return (
    <Setting label={label}>
      <Select
        label={label}
        value={value}
        options={values.map((id) => ({ value: id, label: names[id] }))}
        onChange={(next) => onChange(next as T)}
      />
    </Setting>
  )
}

/** One mapping: which control moves what, and how. */
export function MappingRow({ mapping }: { mapping: Mapping }) {
  const { id, source, target, min, max, curve, invert, mode, takeOver } = mapping
  const [open, setOpen] = useState(false)
  const kind = targetOf(target)?.kind ?? 'range'
  const change = (next: Partial<Mapping>) => controller.change(id, next)
  const ranged = kind === 'range'
  const name = m.rowName(sourceLabel(source), targetLabel(mapping))
  const bound = (label: string, value: number, set: (value: number) => void) => (
    <Setting label={label}>
      <NumberInput
        label={`${label}: ${name}`}
        value={percent(value)}
        integer
        min={0}
        max={100}
        className="w-full"
        onCommit={(next) => set((next ?? 0) / 100)}
      />
    </Setting>
  )
  return (
    <li data-testid="mapping" aria-label={name} className="rounded-2 border border-line bg-bg2 p-2.5">
      <div className="flex items-center gap-2 text-12">
        <button
          type="button"
          aria-expanded={open}
          onClick={() => setOpen(!open)}
          className="flex min-h-7 min-w-0 flex-1 items-center gap-2 rounded-1 text-left hover:text-accent max-md:min-h-11"
        >
          <span className="num min-w-0 truncate">{sourceLabel(source)}</span>
          <ArrowRight size={13} className="shrink-0 text-fg3" aria-hidden />
          <span className="min-w-0 flex-1 truncate font-medium">{targetLabel(mapping)}</span>
          <span className="shrink-0 text-11 text-fg3 max-md:hidden">
            {m.modes[mode]}
            {takeOver !== 'none' && mode === 'continuous' && ` · ${m.takeOvers[takeOver]}`}
          </span>
        </button>
        <IconButton label={m.remove(name)} className="max-md:h-11 max-md:w-11" onClick={() => controller.remove(id)}>
          <Trash2 size={13} aria-hidden />
        </IconButton>
      </div>
      <Position id={id} />
      {open && (
        <div className="mt-2.5 grid grid-cols-2 gap-2 md:grid-cols-3">
          {KNOBS.includes(source.kind) && (
            <Choice
              label={m.control}
              value={source.kind}
              values={KNOBS}
              names={m.kinds}
              onChange={(next) => change({ source: { ...source, kind: next } })}
            />
          )}
          <Choice
            label={m.mode}
            value={mode}
            values={modesFor(kind)}
            names={m.modes}
            onChange={(next) => change({ mode: next })}
          />
          {ranged && mode === 'continuous' && (
            <Choice
              label={m.takeOver}
              value={takeOver}
              values={TAKE_OVERS}
              names={m.takeOvers}
              onChange={(next) => change({ takeOver: next })}
            />
          )}
          {ranged && (
            <Choice
              label={m.curve}
              value={curve}
              values={CURVES}
              names={m.curves}
              onChange={(next) => change({ curve: next })}
            />
          )}
          {ranged && bound(m.min, min, (next) => change({ min: next }))}
          {ranged && bound(m.max, max, (next) => change({ max: next }))}
          {kind !== 'action' && (
            <Setting label={m.invert}>
              <Switch label={`${m.invert}: ${name}`} checked={invert} onChange={(next) => change({ invert: next })} />
            </Setting>
          )}
          {source.kind !== 'key' && (
            <Setting label={m.anyDevice}>
              <Switch
                label={`${m.anyDevice}: ${name}`}
                checked={source.device === null}
                disabled={source.device === null}
                onChange={() => change({ source: { ...source, device: null } })}
              />
            </Setting>
          )}
        </div>
      )}
    </li>
  )
}
