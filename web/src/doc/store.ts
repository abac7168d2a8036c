import { createStore } from 'zustand/vanilla'
import { docSchema, newDoc, type ProjectDoc } from './model'
import { closeLive, endOf } from './timeline'

/** The one copy of the project document, and its autosave. */

const STORAGE_KEY = 'scope.project'
const SAVE_DELAY_MS = 300

export const docStore = createStore<ProjectDoc>(() => newDoc())

export function changeDoc(change: (doc: ProjectDoc) => ProjectDoc): void {
  docStore.setState(change(docStore.getState()), true)
}

/** A block that was live when the page went away ends where it had got to; nothing is live at a start. */
function settle(doc: ProjectDoc): ProjectDoc {
  return { ...doc, blocks: closeLive(doc.blocks, endOf(doc.blocks, 0)) }
}

export function parseDoc(text: string | null): ProjectDoc | null {
  if (text === null) return null
  try {
    const parsed = docSchema.safeParse(JSON.parse(text))
    return parsed.success ? settle(parsed.data) : null
  } catch {
    return null
  }
}

/** Restores the saved document and saves every change within a third of a second. */
export function startAutosave(storage: Storage = localStorage): () => void {
  const saved = parseDoc(storage.getItem(STORAGE_KEY))
  if (saved) docStore.setState(saved, true)
  let timer: ReturnType<typeof setTimeout> | undefined
  const save = () => {
    clearTimeout(timer)
    timer = undefined
    try {
      storage.setItem(STORAGE_KEY, JSON.stringify(docStore.getState()))
    } catch {
      // A full or forbidden storage must not stop the show; the document lives on in memory.
    }
  }
  const unsubscribe = docStore.subscribe(() => {
    timer ??= setTimeout(save, SAVE_DELAY_MS)
  })
  const onHide = () => {
    if (timer !== undefined) save()
  }
  window.addEventListener('pagehide', onHide)
  return () => {
    unsubscribe()
    clearTimeout(timer)
    window.removeEventListener('pagehide', onHide)
  }
}
