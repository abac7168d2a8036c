import { view } from './view'

/** Whose keys are whose: what other parts of the page use as well belongs to the timeline while it, or nothing, has the focus. */

export const inside = () => document.activeElement?.closest('[data-testid="timeline"]') != null

export function here(): boolean {
  const focus = document.activeElement
  return focus === null || focus === document.body || inside()
}

/** Somebody who has marked text on the page means that. */
const textSelected = () => (window.getSelection()?.toString() ?? '') !== ''

export const canCopy = () => view().selection.length > 0 && here() && !textSelected()
export const canPaste = () => here() && view().gesture === null
