import { useStore } from 'zustand'
import { Lazily, lazyPanel } from '../../ui/Lazily'
import { againStore } from './state'

export const againDialog = lazyPanel(async () => (await import('./AgainDialog')).AgainDialog)

export function LazyAgain() {
  return <Lazily of={againDialog} open={useStore(againStore, ({ open }) => open)} />
}
