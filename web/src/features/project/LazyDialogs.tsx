import { useStore } from 'zustand'
import { Lazily, lazyPanel } from '../../ui/Lazily'
import { dialogStore } from './session'

export const projectDialogs = lazyPanel(async () => (await import('./ProjectDialogs')).ProjectDialogs)

export function LazyProjectDialogs() {
  return <Lazily of={projectDialogs} open={useStore(dialogStore, ({ dialog }) => dialog !== null)} />
}
