import { createStore } from 'zustand/vanilla'
import { z } from '../api/zod'
import { settled } from './files/project'
import { docSchema, newDoc, type ProjectDoc } from './model'

/** The one copy of the project document, and which named project it belongs to. */

export const docStore = createStore<ProjectDoc>(() => newDoc())

export function changeDoc(change: (doc: ProjectDoc) => ProjectDoc): void {
  docStore.setState(change(docStore.getState()), true)
}

export const bindingSchema = z.object({
  name: z.string(),
  where: z.enum(['server', 'browser']),
  /** Names the state that was read or written last. */
  tag: z.nullable(z.string()),
  savedAt: z.number(),
  /** The document has been changed since. */
  dirty: z.boolean(),
})
/** The named project that the document was opened from or saved as. */
export type Binding = z.infer<typeof bindingSchema>

export const bindingStore = createStore<{ binding: Binding | null }>(() => ({ binding: null }))

/** A stored document; null when it cannot be read. Nothing is live at a start. */
export function parseDoc(value: unknown): ProjectDoc | null {
  const parsed = docSchema.safeParse(value)
  return parsed.success ? settled(parsed.data) : null
}

export function parseBinding(value: unknown): Binding | null {
  const parsed = bindingSchema.safeParse(value)
  return parsed.success ? parsed.data : null
}
