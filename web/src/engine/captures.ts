import { createStore } from 'zustand/vanilla'
import { newId } from '../doc/model'

/** Recordings and screenshots that the server did not take, kept in memory so that they can be offered again. */

export interface Capture {
  id: string
  kind: 'recording' | 'screenshot'
  name: string
  url: string
  /** What `url` stands for, which the page's policy does not let it fetch. */
  data: Blob
  bytes: number
  /** Milliseconds since 1970. */
  at: number
}

export const MAX_CAPTURES = 40
/** A browser may keep blobs on disk, but need not. */
export const MAX_CAPTURE_BYTES = 1_000_000_000

export class Captures {
  readonly store = createStore<{ items: readonly Capture[]; dropped: number }>(() => ({ items: [], dropped: 0 }))

  constructor(private readonly maxBytes = MAX_CAPTURE_BYTES) {}

  /** Keeps a capture; the oldest make room for it, but the newest stays however large it is. */
  add(kind: Capture['kind'], name: string, blob: Blob): Capture {
    const capture: Capture = {
      id: newId(),
      kind,
      name,
      url: URL.createObjectURL(blob),
      data: blob,
      bytes: blob.size,
      at: Date.now(),
    }
    const items = [capture, ...this.store.getState().items]
    let bytes = 0
    const fits = items.filter((item, index) => {
      bytes += item.bytes
      return index === 0 || (index < MAX_CAPTURES && bytes <= this.maxBytes)
    })
    for (const item of items) if (!fits.includes(item)) URL.revokeObjectURL(item.url)
    this.store.setState(({ dropped }) => ({ items: fits, dropped: dropped + items.length - fits.length }))
    return capture
  }

  remove(id: string): void {
    const { items } = this.store.getState()
    const gone = items.find((item) => item.id === id)
    if (gone) URL.revokeObjectURL(gone.url)
    this.store.setState({ items: items.filter((item) => item.id !== id) })
  }
}
