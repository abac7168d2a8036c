import { useStore } from 'zustand'
import { Lazily, lazyPanel } from '../../ui/Lazily'
import { graphStore } from './state'

const drawer = lazyPanel(async () => (await import('./GraphDrawer')).GraphDrawer)

/** So that it is there when the server is not. */
export const preloadGraph = drawer.preload

export function Graph() {
  const open = useStore(graphStore, (state) => state.open)
  return <Lazily of={drawer} open={open} />
}
