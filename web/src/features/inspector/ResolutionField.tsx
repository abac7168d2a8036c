import { useId, useState } from 'react'
import { scope } from '../../app'
import type { ChainNode } from '../../engine/chain'
import { t } from '../../messages'
import { defaultOf, type Field } from '../../schema/plan'
import { type Size, sizePresets, snap } from '../../schema/resolution'
import { Select } from '../../ui/controls'
import { NumberInput } from '../../ui/fields'
import { paramId, useNode } from './node'

const same = (a: Size, b: Size) => a.width === b.width && a.height === b.height
const name = (size: Size) => `${size.width} × ${size.height}`

function setSize(node: ChainNode, field: Field, size: Size): void {
  scope.setParam(node, field.key, size.width)
  if (field.size) scope.setParam(node, field.size.heightKey, size.height)
}

/** Width and height as presets and numbers; typed numbers become what the pipeline accepts, and the row says so. */
export function ResolutionField({ field, width, height }: { field: Field; width: number; height: number }) {
  const node = useNode()
  const { pipeline, mode } = node
  const ruleId = useId()
  const [typed, setTyped] = useState<{ from: number; to: number } | null>(null)
  const rule = field.size?.rule
  if (!rule) return null
  const current = { width, height }
  const own = {
    width: Number(defaultOf(pipeline, mode, field.key)) || width,
    height: Number(defaultOf(pipeline, mode, field.size?.heightKey ?? '')) || height,
  }
  const presets = sizePresets(own, rule)
  const chosen = presets.find((size) => same(size, current))
  const options = presets.map((size) => ({ value: name(size), label: name(size) }))
  const correct = (value: number) => {
    const next = snap(value, rule)
    setTyped(next === value ? null : { from: value, to: next })
    return next
  }
  const side = (label: string, key: string, value: number) => (
    <NumberInput
      label={label}
      testId={paramId(node, key)}
      value={value}
      integer
      step={rule.multipleOf}
      min={1}
      correct={correct}
      className="w-full"
      describedBy={`${ruleId}-${key}`}
      onCommit={(next) => next !== null && scope.setParam(node, key, next)}
    />
  )
  return (
    <div className="flex flex-col gap-1.5">
      <Select
        label={t.inspector.size}
        testId={node.role === 'main' ? 'size-preset' : `size-preset-${node.id}`}
        value={chosen ? name(chosen) : 'custom'}
        options={chosen ? options : [...options, { value: 'custom', label: t.inspector.custom, disabled: true }]}
        onChange={(value) => {
          const size = presets.find((candidate) => name(candidate) === value)
          if (size) setSize(node, field, size)
        }}
      />
      <div className="flex items-center gap-2 text-fg3">
        {side(t.inspector.width, field.key, width)}
        <span aria-hidden>×</span>
        {side(t.inspector.height, field.size?.heightKey ?? 'height', height)}
      </div>
      <p id={`${ruleId}-${field.key}`} className={typed ? 'text-11 text-warn' : 'text-11 text-fg3'} aria-live="polite">
        {typed
          ? t.inspector.corrected(typed.from, typed.to, rule.multipleOf)
          : rule.multipleOf > 1 && t.inspector.multiple(rule.multipleOf)}
      </p>
      <p id={`${ruleId}-${field.size?.heightKey ?? 'height'}`} className="sr-only">
        {t.inspector.multiple(rule.multipleOf)}
      </p>
    </div>
  )
}
