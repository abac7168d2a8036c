import { createStore } from 'zustand/vanilla'
import type { Asset, AssetKind } from '../../api/types'
import { scope } from '../../app'

export const LIBRARY_TABS = ['media', 'loras', 'recordings', 'presets'] as const
export type LibraryTab = (typeof LIBRARY_TABS)[number]

/** Somebody asks for a file. */
export interface Pick {
  kind: AssetKind
  label: string
  chosen(asset: Asset): void
}

export interface LibraryUi {
  open: boolean
  tab: LibraryTab
  pick: Pick | null
}

export const libraryStore = createStore<LibraryUi>(() => ({ open: false, tab: 'media', pick: null }))

export function openLibrary(tab: LibraryTab = libraryStore.getState().tab): void {
  libraryStore.setState({ open: true, tab })
  void scope.library.assets.refresh()
  void scope.library.loras.refresh()
}

export function closeLibrary(): void {
  libraryStore.setState({ open: false })
}

export function toggleLibrary(): void {
  if (libraryStore.getState().open) closeLibrary()
  else openLibrary()
}

/** Lets the user choose a file of a kind, or upload one. */
export function pickAsset(pick: Pick): void {
  libraryStore.setState({ pick })
  void scope.library.assets.refresh()
}

export function endPick(): void {
  libraryStore.setState({ pick: null })
}
