import { lazy, Suspense } from 'react'
import { useStore } from 'zustand'
import { scope } from '../../app'
import { deepEqual } from '../../doc/equal'
import { canSwing } from '../../engine/modulation'
import { useDoc } from '../../hooks'
import { applies, effectiveValue, type Field, keysOf } from '../../schema/plan'
import { fieldTarget } from '../control/ids'
import { SwingButton, SwingPanel } from '../tempo/Swing'
import { FieldFrame } from './FieldFrame'
import { paramId, useNode } from './node'
import { pinStore, togglePin } from './pins'
import { ResolutionField } from './ResolutionField'

const AdaptersWidget = lazy(() => import('./AdaptersWidget'))

/** A parameter of the node that is shown. */
export function FieldRow({ field }: { field: Field }) {
  const node = useNode()
  const { pipeline, mode } = node
  const value = useDoc((doc) => {
    const params = doc.params[node.id] ?? {}
    return field.key in params ? params[field.key] : field.default
  })
  const second = useDoc((doc) =>
    effectiveValue(pipeline, mode, doc.params[node.id] ?? {}, field.size?.heightKey ?? field.key),
  )
  const own = useDoc((doc) => keysOf(field).some((key) => key in (doc.params[node.id] ?? {})))
  const shown = useDoc((doc) => applies(field, (key) => effectiveValue(pipeline, mode, doc.params[node.id] ?? {}, key)))
  const pinned = useStore(pinStore, (pins) => pins[pipeline.id]?.includes(field.key) ?? false)
  if (!shown) return null
  const control =
    field.widget === 'loras' ? (
      <Suspense fallback={<div className="h-7" />}>
        <AdaptersWidget field={field} />
      </Suspense>
    ) : (
      <ResolutionField field={field} width={Number(value) || 0} height={Number(second) || 0} />
    )
  return (
    <FieldFrame
      field={field}
      value={value}
      testId={paramId(node, field.key)}
      changed={own && (!deepEqual(value, field.default) || field.size !== undefined)}
      // Adapters say it one by one.
      badge={field.widget !== 'loras'}
      pinned={pinned}
      target={fieldTarget(node, field)}
      control={control}
      {...(canSwing(field)
        ? {
            aside: <SwingButton node={node} field={field} />,
            below: <SwingPanel node={node} field={field} />,
          }
        : {})}
      onChange={(next) => scope.setParam(node, field.key, next)}
      onReset={() => scope.resetParams(node, keysOf(field))}
      {...(node.role === 'main' ? { onPin: () => togglePin(pipeline.id, field.key) } : {})}
    />
  )
}
