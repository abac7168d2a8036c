import { createStore } from 'zustand/vanilla'

export const graphStore = createStore<{ open: boolean }>(() => ({ open: false }))

export function toggleGraph(): void {
  graphStore.setState(({ open }) => ({ open: !open }))
}
