import { useRef } from 'react'

/** Where the focus was when a dialog opened. Dialogs here have no trigger of their own to return it to. */
export function useFocusBack() {
  const before = useRef<Element | null>(null)
  return {
    /** To be called before the dialog takes the focus. */
    remember() {
      before.current = document.activeElement
    },
    giveBack(event: Event) {
      event.preventDefault()
      if (before.current instanceof HTMLElement && before.current.isConnected) before.current.focus()
    },
  }
}
