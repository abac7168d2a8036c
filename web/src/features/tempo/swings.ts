import { createStore } from 'zustand/vanilla'
import { uiStore } from '../../app'
import { editDoc } from '../../doc/history'
import { changeDoc, docStore } from '../../doc/store'
import { type Modulation, modulationOf, setModulation, setTempo } from '../../doc/tempo'
import type { ChainNode } from '../../engine/chain'
import { t } from '../../messages'
import type { Field } from '../../schema/plan'

/** What hands do to parameters that swing. */

const USUAL_DEPTH = 0.3

export const swingId = (node: ChainNode, field: Field) => `${node.id} ${field.key}`

/** The parameter whose swing is being changed in its row. */
export const swingStore = createStore<{ open: string | null }>(() => ({ open: null }))

/** How far a parameter can swing: the server's limit, or its whole range. */
export function deepest({ min, max }: Field): number {
  return min === undefined || max === undefined ? 1 : Math.min(1, max - min)
}

/** Opens the editor in the parameter's row; what does not swing yet begins to. */
export function openSwing(node: ChainNode, field: Field): void {
  if (!modulationOf(docStore.getState(), node.id, field.key)) {
    changeSwing(node, field, { on: true, depth: Number((USUAL_DEPTH * deepest(field)).toPrecision(3)) })
    changeDoc(setTempo({ on: true }))
  }
  swingStore.setState({ open: swingId(node, field) })
}

/** Shows the row of a parameter, wherever the page is, with its editor. */
export function showSwing(node: ChainNode, field: Field): void {
  uiStore.setState({
    tempo: false,
    tab: 'tune',
    drawer: matchMedia('(min-width: 1200px)').matches ? null : 'inspector',
  })
  openSwing(node, field)
  // After the panel is there.
  setTimeout(() => {
    const editor = document.querySelector<HTMLElement>('[data-testid="swing-editor"]')
    editor?.scrollIntoView({ block: 'nearest' })
    editor?.querySelector<HTMLElement>('button')?.focus()
  }, 100)
}

export function changeSwing(node: ChainNode, field: Field, change: Partial<Modulation>): void {
  const [only] = Object.keys(change)
  editDoc(t.modulation.edit(field.label), setModulation(node.id, field.key, change), {
    merge: `swing ${swingId(node, field)} ${only}`,
  })
}

export function removeSwing(node: ChainNode, field: Field): void {
  if (swingStore.getState().open === swingId(node, field)) swingStore.setState({ open: null })
  editDoc(t.modulation.removed(field.label), setModulation(node.id, field.key, null))
}
