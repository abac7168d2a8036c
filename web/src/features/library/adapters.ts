import { useMemo } from 'react'
import type { Lora } from '../../api/types'
import { type ChainNode, sectionsOf } from '../../engine/chain'
import { useChain, useDoc } from '../../hooks'
import { t } from '../../messages'
import { type Adapter, adaptersOf, MAX_LORAS, type MergeMode } from '../../schema/loras'
import { effectiveValue, type Field } from '../../schema/plan'
import { setParamStep } from './uses'

export { MAX_LORAS }

/** The adapters of a node. */
export interface Adapters {
  node: ChainNode
  field: Field
  list: Adapter[]
  /** How one is merged that nobody has decided about. */
  strategy: MergeMode
}

export function useAdaptersOf(node: ChainNode | undefined, field: Field | undefined): Adapters | null {
  const { own, strategy } = useDoc((doc) => {
    if (!node || !field) return { own: undefined, strategy: null }
    const params = doc.params[node.id] ?? {}
    const strategy = effectiveValue(node.pipeline, node.mode, params, field.strategyKey ?? '')
    return { own: params[field.key], strategy }
  })
  return useMemo(
    () =>
      node && field
        ? {
            node,
            field,
            list: adaptersOf(own, strategy),
            strategy: strategy === 'runtime_peft' ? 'runtime_peft' : 'permanent_merge',
          }
        : null,
    [node, field, own, strategy],
  )
}

/** The adapters of the pipeline; null where it takes none. */
export function useAdapters(): Adapters | null {
  const node = useChain().find(({ role }) => role === 'main')
  const field = useMemo(
    () => node && sectionsOf(node).flatMap(({ fields }) => fields.filter(({ strategyKey }) => strategyKey))[0],
    [node],
  )
  return useAdaptersOf(node, field)
}

const store = ({ node, field }: Adapters, next: readonly Adapter[], label: string) =>
  setParamStep(node, field.key, next, label)

export function addAdapter(adapters: Adapters, { name, path }: Pick<Lora, 'name' | 'path'>): void {
  if (adapters.list.length >= MAX_LORAS || adapters.list.some((entry) => entry.path === path)) return
  const entry: Adapter = { path, scale: 1, merge_mode: adapters.strategy }
  store(adapters, [...adapters.list, entry], t.library.loras.addTo(name, adapters.node.pipeline.name))
}

export function removeAdapter(adapters: Adapters, path: string): void {
  const name = adapterName(path)
  store(
    adapters,
    adapters.list.filter((entry) => entry.path !== path),
    t.library.loras.tookOut(name),
  )
}

/** An adapter's name where only its path is known. */
export function adapterName(path: string): string {
  return (path.split(/[\\/]/).at(-1) ?? path).replace(/\.safetensors$/, '')
}
