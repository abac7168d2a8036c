import { api } from '../../api/client'
import { scope } from '../../app'
import { docStore } from '../../doc/store'
import type { ChainNode } from '../../engine/chain'
import { sizeFor } from '../../engine/wire'
import { t } from '../../messages'
import { allFields } from '../../schema/plan'
import { type Size, smallerSize } from '../../schema/resolution'

/** What can be done about a machine that is too small or too slow. */

export interface Action {
  label: string
  run(): void
}

const mainNode = (): ChainNode | null => scope.chain().find(({ role }) => role === 'main') ?? null

function nextSmallerSize(node: ChainNode): Size | null {
  const field = allFields(node.pipeline, node.mode).find((candidate) => candidate.size)
  return field?.size ? smallerSize(sizeFor(docStore.getState(), node.pipeline), field.size.rule) : null
}

/** The next smaller picture; null where there is none. `then` runs when it is chosen. */
export function smaller(then: () => void): Action | null {
  const node = mainNode()
  const size = node && nextSmallerSize(node)
  if (!node || !size) return null
  return {
    label: t.errors.smaller(size.width, size.height),
    run: () => {
      scope.setParam(node, 'width', size.width)
      scope.setParam(node, 'height', size.height)
      then()
    },
  }
}

/** Smaller weights, where the pipeline has them and does not use them yet. */
export function quantised(then: () => void): Action | null {
  const node = mainNode()
  if (!node) return null
  const field = allFields(node.pipeline, node.mode).find(({ key }) => key === 'quantization')
  const option = field?.options.find(({ value }) => typeof value === 'string' && /fp8|int8/i.test(value))
  const now = docStore.getState().params[node.id]?.quantization ?? field?.default ?? null
  if (!field || !option || now !== null) return null
  return {
    label: t.errors.quantise(option.label),
    run: () => {
      scope.setParam(node, 'quantization', option.value)
      then()
    },
  }
}

/** Gives back everything that is loaded first. */
export async function startAnew(): Promise<void> {
  await api.unload().catch(() => undefined)
  await scope.start()
}
