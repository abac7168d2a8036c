import { useId } from 'react'
import { scope } from '../../app'
import { deepEqual } from '../../engine/loading'
import { useDoc } from '../../hooks'
import { t } from '../../messages'
import { effectiveValue, type Field } from '../../schema/plan'
import { Hint } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { paramId, useNode } from './node'
import { ResolutionField } from './ResolutionField'
import { BESIDE, WIDGETS } from './widgets'

function Badge({ reload }: { reload: boolean }) {
  return (
    <Hint text={reload ? t.inspector.reloadHint : t.inspector.liveHint}>
      <span
        className={cx(
          'rounded-[3px] border px-1 text-11 leading-4',
          reload ? 'border-line text-fg3' : 'border-ok/50 text-ok',
        )}
      >
        {reload ? t.inspector.reload : t.inspector.live}
      </span>
    </Hint>
  )
}

/** One parameter: name, how it takes effect, a way back to the default, and its widget. */
export function FieldRow({ field }: { field: Field }) {
  const node = useNode()
  const { pipeline, mode } = node
  const hintId = useId()
  const read = (key: string) => (doc: { params: Record<string, Record<string, unknown>> }) =>
    effectiveValue(pipeline, mode, doc.params[node.id] ?? {}, key)
  const value = useDoc(read(field.key))
  const second = useDoc(read(field.size?.heightKey ?? field.key))
  const own = useDoc((doc) => {
    const params = doc.params[node.id] ?? {}
    return field.key in params || (field.size ? field.size.heightKey in params : false)
  })
  const changed = own && (!deepEqual(value, field.default) || field.size !== undefined)
  const keys = field.size ? [field.key, field.size.heightKey] : [field.key]
  const beside = BESIDE.has(field.widget)
  const Widget = field.widget === 'resolution' ? null : WIDGETS[field.widget]
  const control = Widget ? (
    <Widget
      field={field}
      value={value}
      testId={paramId(node, field.key)}
      describedBy={hintId}
      onChange={(next) => scope.setParam(node, field.key, next)}
    />
  ) : (
    <ResolutionField field={field} width={Number(value) || 0} height={Number(second) || 0} />
  )
  return (
    <div className={cx('flex gap-1.5', beside ? 'items-center' : 'flex-col')}>
      <div className="flex min-w-0 flex-1 items-center gap-1.5">
        <Hint text={field.description || field.label}>
          <span className="truncate text-12 text-fg1">{field.label}</span>
        </Hint>
        <Badge reload={field.reload} />
        {changed && (
          <button
            type="button"
            aria-label={t.common.reset(field.label)}
            title={t.common.reset(field.label)}
            onClick={() => scope.resetParams(node, keys)}
            className="grid h-6 w-6 place-items-center"
          >
            <span className="h-2 w-2 rounded-full bg-accent" aria-hidden />
          </button>
        )}
      </div>
      <span id={hintId} className="sr-only">
        {field.description} {field.reload ? t.inspector.reloadHint : t.inspector.liveHint}
      </span>
      {control}
    </div>
  )
}
