import { lazy, Suspense } from 'react'
import { useStore } from 'zustand'
import { libraryStore } from './state'

const LibraryDrawer = lazy(() => import('./LibraryDrawer'))

/** The library and the chooser of files, which come when they are first asked for. */
export function Library() {
  const wanted = useStore(libraryStore, ({ open, pick }) => open || pick !== null)
  return wanted ? (
    <Suspense fallback={null}>
      <LibraryDrawer />
    </Suspense>
  ) : null
}
