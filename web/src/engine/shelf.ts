import { createStore } from 'zustand/vanilla'
import type { SendOptions } from '../api/upload'
import { newId } from '../doc/model'
import { type SessionError, sessionError } from './errors'

/** Files of one kind on the server: what is there, what is on its way, what is about to go. */

export interface Upload {
  id: string
  name: string
  sent: number
  total: number
  /** Null while nothing is wrong with it. */
  problem: SessionError | null
}

export interface ShelfState<T> {
  phase: 'unknown' | 'loading' | 'ready' | 'failed'
  items: readonly T[]
  /** Why the list is not known, or a deletion did not happen. */
  problem: SessionError | null
  uploads: readonly Upload[]
}

export interface ShelfDeps<T> {
  list(): Promise<T[]>
  upload(name: string, data: Blob, options: SendOptions): Promise<T>
  remove(item: T, keepalive: boolean): Promise<void>
  /** A code for what cannot be taken; null for what can. */
  refuse(file: File): string | null
}

/** Uploads at a time: more would only share the same line. */
const AT_ONCE = 2
/** Uploads shown at a time; what comes on top is refused at once. */
export const MAX_UPLOADS = 100
/** How long a deletion can be taken back. */
export const GRACE_MS = 8000

export class Shelf<T extends { path: string }> {
  readonly store = createStore<ShelfState<T>>(() => ({ phase: 'unknown', items: [], problem: null, uploads: [] }))
  private readonly leaving = new Map<string, { item: T; timer: ReturnType<typeof setTimeout> }>()
  private readonly waiting: (() => Promise<void>)[] = []
  private readonly aborts = new Map<string, AbortController>()
  private running = 0

  constructor(private readonly deps: ShelfDeps<T>) {}

  async refresh(): Promise<void> {
    if (this.store.getState().phase !== 'ready') this.store.setState({ phase: 'loading' })
    try {
      const items = await this.deps.list()
      this.store.setState({ phase: 'ready', problem: null, items: items.filter(({ path }) => !this.leaving.has(path)) })
    } catch (cause) {
      this.store.setState({ phase: 'failed', problem: sessionError(cause) })
    }
  }

  /** Answers with what became an item; failures stay in the list of uploads until they are dismissed. */
  async upload(files: readonly File[]): Promise<T[]> {
    const room = MAX_UPLOADS - this.store.getState().uploads.length
    const done = await Promise.all(files.map((file, index) => this.begin(file, index < room)))
    return done.filter((item): item is Awaited<T> => item !== null)
  }

  /** Ends an upload, or takes a failed one from the list. */
  dismiss(id: string): void {
    this.aborts.get(id)?.abort()
    this.aborts.delete(id)
    this.store.setState(({ uploads }) => ({ uploads: uploads.filter((upload) => upload.id !== id) }))
  }

  /** Takes an item away; the file goes when the time to think better of it is over. Answers how to take it back. */
  remove(item: T): () => void {
    const { items } = this.store.getState()
    const index = items.findIndex(({ path }) => path === item.path)
    if (index < 0) return () => undefined
    const timer = setTimeout(() => void this.erase(item), GRACE_MS)
    this.leaving.set(item.path, { item, timer })
    this.store.setState({ items: items.filter(({ path }) => path !== item.path) })
    return () => {
      if (!this.leaving.delete(item.path)) return
      clearTimeout(timer)
      this.store.setState((state) => ({ items: state.items.toSpliced(index, 0, item) }))
    }
  }

  /** The page goes away: what was to be deleted is deleted now. */
  flush(): void {
    for (const { item, timer } of this.leaving.values()) {
      clearTimeout(timer)
      void this.deps.remove(item, true).catch(() => undefined)
    }
    this.leaving.clear()
  }

  /** Shows an item that came some other way. */
  add(item: T): void {
    this.store.setState(({ items }) => ({ items: [item, ...items.filter(({ path }) => path !== item.path)] }))
  }

  private async erase(item: T): Promise<void> {
    try {
      await this.deps.remove(item, false)
      this.leaving.delete(item.path)
    } catch (cause) {
      this.leaving.delete(item.path)
      await this.refresh()
      this.store.setState({ problem: sessionError(cause) })
    }
  }

  private begin(file: File, room: boolean): Promise<T | null> {
    const upload: Upload = { id: newId(), name: file.name, sent: 0, total: file.size, problem: null }
    const code = room ? this.deps.refuse(file) : 'too_many'
    this.store.setState(({ uploads }) => ({
      uploads: [...uploads, code === null ? upload : { ...upload, problem: { code, message: file.name } }].slice(
        -MAX_UPLOADS,
      ),
    }))
    if (code !== null) return Promise.resolve(null)
    const abort = new AbortController()
    this.aborts.set(upload.id, abort)
    return new Promise((resolve) => {
      this.waiting.push(async () => resolve(await this.send(upload.id, file, abort.signal)))
      this.pump()
    })
  }

  private async send(id: string, file: File, signal: AbortSignal): Promise<T | null> {
    if (signal.aborted) return null
    const change = (next: Partial<Upload>) =>
      this.store.setState(({ uploads }) => ({
        uploads: uploads.map((upload) => (upload.id === id ? { ...upload, ...next } : upload)),
      }))
    try {
      const onProgress = (sent: number, total: number) => change({ sent, total })
      const item = await this.deps.upload(file.name, file, { signal, onProgress })
      this.add(item)
      this.dismiss(id)
      return item
    } catch (cause) {
      if (!signal.aborted) change({ problem: sessionError(cause) })
      return null
    } finally {
      this.aborts.delete(id)
    }
  }

  private pump(): void {
    while (this.running < AT_ONCE) {
      const next = this.waiting.shift()
      if (!next) return
      this.running += 1
      void next().finally(() => {
        this.running -= 1
        this.pump()
      })
    }
  }
}
