import { createContext, useContext } from 'react'
import type { ChainNode } from '../../engine/chain'

/** The node whose parameters are being shown. */
export const NodeContext = createContext<ChainNode | null>(null)

export function useNode(): ChainNode {
  const node = useContext(NodeContext)
  if (!node) throw new Error('Parameters are shown outside of a node')
  return node
}

/** Where a parameter is found; those of processors have their node's name besides. */
export function paramId(node: ChainNode, key: string): string {
  return node.role === 'main' ? `param-${key}` : `param-${node.id}-${key}`
}
