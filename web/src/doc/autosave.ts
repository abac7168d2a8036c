import { createStore } from 'zustand/vanilla'
import { deepEqual } from './equal'
import { newDoc, newId, type ProjectDoc } from './model'
import { type Binding, bindingStore, docStore, parseBinding, parseDoc } from './store'
import { TabLock } from './tabs'
import type { Point, PointReason, Stored, Vault } from './vault'

/**
 * Keeps the document in the browser as it changes, with earlier states to go back to, and brings it back. One tab does so at
 * a time. Nothing in here can stop the show: what cannot be stored is said once and lives on in memory.
 */

const SAVE_DELAY_MS = 250
const IDLE_LIMIT_MS = 400
const POINT_EVERY_MS = 180_000
const READ_LIMIT_MS = 3000
/** Written where writing takes no time, because a page that goes away is given none. */
const JOURNAL_KEY = 'scope.journal'
/** There while changes are made, gone after an orderly end. */
const OPEN_KEY = 'scope.open'
const OLD_KEY = 'scope.project'

export interface AutosaveState {
  role: 'starting' | 'owner' | 'reader'
  savedAt: number | null
  /** Why nothing can be stored. */
  problem: string | null
  /** What was stored has been put aside, because this version cannot read it. */
  unreadable: boolean
  /** The page had gone without an orderly end, and this has been brought back. */
  recovered: { at: number; start: string | null } | null
}

interface Snapshot {
  doc: ProjectDoc
  binding: Binding | null
}

const now = (): Snapshot => ({ doc: docStore.getState(), binding: bindingStore.getState().binding })

/** What the user made: choices of the page itself, such as the first pipeline, do not count. */
function sameWork(a: ProjectDoc, b: ProjectDoc): boolean {
  const bare = ({ pipelineId: _, source: __, onAir: ___, draft, ...doc }: ProjectDoc) => ({
    ...doc,
    draft: draft.map(({ text, weight }) => ({ text, weight })),
  })
  return deepEqual(bare(a), bare(b))
}

function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  const late = new Promise<never>((_, reject) => setTimeout(() => reject(new Error('timeout')), ms))
  return Promise.race([promise, late])
}

const whenIdle = (run: () => void) => {
  if (typeof requestIdleCallback === 'function') requestIdleCallback(run, { timeout: IDLE_LIMIT_MS })
  else setTimeout(run)
}

export class Autosave {
  readonly store = createStore<AutosaveState>(() => ({
    role: 'starting',
    savedAt: null,
    problem: null,
    unreadable: false,
    recovered: null,
  }))
  private readonly tabs: TabLock
  private timer: ReturnType<typeof setTimeout> | undefined
  private saved: Snapshot | null = null
  /** The document as this visit found it. */
  private found: ProjectDoc = newDoc()
  private startPoint: string | null = null
  private pointAt = Date.now()
  private marked = false
  private writing: Promise<void> = Promise.resolve()
  private ends: (() => void)[] = []

  constructor(
    readonly vault: Vault,
    private readonly storage: Storage | null,
    lockName = 'scope.document',
  ) {
    this.tabs = new TabLock(lockName, {
      gained: () => void this.becomeOwner(),
      lost: () => this.store.setState({ role: 'reader' }),
      flush: () => this.flush(),
    })
  }

  /** Brings back what was stored, silently, and keeps every change from then on. */
  async start(): Promise<void> {
    const [owner, stored] = await Promise.all([
      within(this.tabs.acquire(), READ_LIMIT_MS).catch(() => true),
      this.latest(),
    ])
    if (stored) this.adopt(stored)
    this.found = docStore.getState()
    this.saved = now()
    const mark = this.item(OPEN_KEY)
    this.store.setState({
      role: owner ? 'owner' : 'reader',
      savedAt: stored?.at || null,
      recovered: owner && mark !== null && stored ? { at: stored.at, start: mark || null } : null,
    })
    if (owner && this.item(OLD_KEY) !== null && stored) void this.write().then(() => this.forget(OLD_KEY))
    const listening = new AbortController()
    window.addEventListener('pagehide', () => this.leave(), listening)
    document.addEventListener('visibilitychange', () => document.hidden && this.leave(), listening)
    this.ends = [
      docStore.subscribe(() => this.changed()),
      bindingStore.subscribe(() => this.changed()),
      () => listening.abort(),
      () => clearTimeout(this.timer),
    ]
  }

  /** As when the page is gone, without a word to anybody. */
  stop(): void {
    for (const end of this.ends) end()
  }

  /** The newest of what the three places hold: the store, the journal of a page that went away, the store of old. */
  private async latest(): Promise<Stored | null> {
    const kept = await within(this.vault.current(), READ_LIMIT_MS).catch((cause: unknown) => {
      this.fail(cause)
      return null
    })
    if (kept && parseDoc(kept.doc) === null) {
      await this.vault.setAside(kept).catch(() => undefined)
      this.store.setState({ unreadable: true })
    }
    const journal = this.parsed(JOURNAL_KEY) as Stored | null
    const old = this.parsed(OLD_KEY)
    const candidates = [kept, journal, old === null ? null : { at: 0, doc: old, binding: null }]
    return candidates
      .filter((stored) => stored !== null && parseDoc(stored.doc) !== null)
      .reduce((best, stored) => (best === null || (stored?.at ?? 0) > best.at ? stored : best), null)
  }

  private adopt(stored: Stored): void {
    const doc = parseDoc(stored.doc)
    if (!doc) return
    docStore.setState(doc, true)
    bindingStore.setState({ binding: parseBinding(stored.binding) })
  }

  private changed(): void {
    if (this.store.getState().role !== 'owner') return
    this.timer ??= setTimeout(() => whenIdle(() => void this.flush()), SAVE_DELAY_MS)
  }

  /** Stores what has changed. Never fails. */
  async flush(): Promise<void> {
    clearTimeout(this.timer)
    this.timer = undefined
    if (this.store.getState().role !== 'owner' || !this.unsaved()) return this.writing
    this.mark()
    this.writing = this.writing.then(() => this.write())
    await this.writing
  }

  private unsaved(): boolean {
    const { doc, binding } = now()
    return this.saved?.doc !== doc || this.saved.binding !== binding
  }

  private async write(): Promise<void> {
    const snapshot = now()
    const stored: Stored = { at: Date.now(), ...snapshot }
    try {
      await this.vault.keep(stored).catch(async (cause: unknown) => {
        if (!(await this.vault.makeRoom())) throw cause
        await this.vault.keep(stored)
      })
      this.forget(JOURNAL_KEY)
      this.saved = snapshot
      this.store.setState({ savedAt: stored.at, problem: null })
      if (stored.at - this.pointAt > POINT_EVERY_MS) await this.point('time')
    } catch (cause) {
      // The small store still holds small documents.
      if (this.put(JOURNAL_KEY, JSON.stringify(stored))) {
        this.saved = snapshot
        this.store.setState({ savedAt: stored.at })
      } else {
        this.fail(cause)
      }
    }
  }

  private fail(cause: unknown): void {
    const text = cause instanceof Error ? cause.message : String(cause)
    if (this.store.getState().problem === null) this.store.setState({ problem: text || 'storage' })
  }

  /** Notes that changes are being made, so that the next start knows whether this page ended in order. */
  private mark(): void {
    if (this.marked || document.hidden) return
    this.marked = true
    if (this.startPoint === null) {
      this.startPoint = newId()
      void this.addPoint('start', { doc: this.found, binding: this.saved?.binding ?? null }, this.startPoint)
    }
    this.put(OPEN_KEY, this.startPoint)
  }

  private leave(): void {
    if (this.store.getState().role !== 'owner') return
    if (this.unsaved()) {
      this.put(JOURNAL_KEY, JSON.stringify({ at: Date.now(), ...now() } satisfies Stored))
      void this.flush()
    }
    if (this.marked) this.forget(OPEN_KEY)
    this.marked = false
  }

  // -- earlier states

  /** Keeps the present document as an earlier state. */
  async point(reason: PointReason): Promise<string | null> {
    return this.addPoint(reason, now())
  }

  private async addPoint(reason: PointReason, { doc, binding }: Snapshot, id = newId()): Promise<string | null> {
    const at = Date.now()
    this.pointAt = at
    const point: Point = { id, at, reason, name: doc.name, takes: doc.blocks.length }
    try {
      await this.vault.addPoint(point, { at, doc, binding })
      return id
    } catch {
      return null
    }
  }

  async points(): Promise<Point[]> {
    return this.vault.points().catch(() => [])
  }

  /** An earlier state; null when it has gone. */
  async read(id: string): Promise<Snapshot | null> {
    const stored = await this.vault.point(id).catch(() => null)
    const doc = stored && parseDoc(stored.doc)
    return doc ? { doc, binding: parseBinding(stored.binding) } : null
  }

  /** What was recovered is what the user wants. */
  keepRecovered(): void {
    this.store.setState({ recovered: null })
    if (!this.marked) this.forget(OPEN_KEY)
  }

  // -- several tabs

  /** Makes this tab the one that stores. */
  async takeOver(): Promise<'stored' | 'mine'> {
    await this.tabs.takeOver()
    return this.becomeOwner()
  }

  /** Goes on with what the other tab left, unless something was made here: then that one becomes an earlier state. */
  private async becomeOwner(): Promise<'stored' | 'mine'> {
    const stored = await this.latest()
    const theirs = stored && parseDoc(stored.doc)
    const untouched = sameWork(docStore.getState(), this.found)
    this.store.setState({ role: 'owner', savedAt: stored?.at ?? null })
    if (!stored || !theirs || sameWork(theirs, docStore.getState())) return 'stored'
    if (!untouched) {
      await this.addPoint('other-tab', { doc: theirs, binding: parseBinding(stored.binding) })
      this.changed()
      return 'mine'
    }
    this.adopt(stored)
    this.found = docStore.getState()
    this.saved = now()
    return 'stored'
  }

  // -- the small store, which may be forbidden

  private item(key: string): string | null {
    try {
      return this.storage?.getItem(key) ?? null
    } catch {
      return null
    }
  }

  private parsed(key: string): unknown {
    try {
      return JSON.parse(this.item(key) ?? 'null') as unknown
    } catch {
      return null
    }
  }

  private put(key: string, value: string): boolean {
    try {
      if (!this.storage) return false
      this.storage.setItem(key, value)
      return true
    } catch {
      return false
    }
  }

  private forget(key: string): void {
    try {
      this.storage?.removeItem(key)
    } catch {
      // Then there was nothing.
    }
  }
}
