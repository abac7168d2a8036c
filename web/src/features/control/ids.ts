import type { ChainNode } from '../../engine/chain'
import type { TargetKind } from '../../engine/mapping'
import type { Field } from '../../schema/plan'

/** The names of what can be mapped, as they stand in mappings and in `data-map`. */

export const commandTarget = (id: string) => `command|${id}`
export const weightTarget = (index: number) => `weight|${index}`
export const TRANSITION_TARGET = 'transition'
export const CUE_TARGET = 'cue'

export const FIELD_KINDS: Partial<Record<Field['widget'], TargetKind>> = {
  slider: 'range',
  number: 'range',
  switch: 'switch',
  segmented: 'choice',
  select: 'choice',
}

/** A parameter as a target; undefined where it cannot be one. The pipeline's own keep their names when it changes. */
export function fieldTarget(node: ChainNode, field: Field): string | undefined {
  if (field.reload || !FIELD_KINDS[field.widget]) return undefined
  return `param|${node.role === 'main' ? 'main' : node.id}|${field.key}`
}
