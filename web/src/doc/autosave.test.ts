import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Autosave } from './autosave'
import { newDoc, type ProjectDoc } from './model'
import { bindingStore, changeDoc, docStore } from './store'
import { MAX_POINTS, type Point, type Stored, type Vault } from './vault'

/** A store in memory with the rules of the real one. */
class MemoryVault {
  stored: Stored | null = null
  list: Point[] = []
  docs = new Map<string, Stored>()
  refuses = false
  current = async () => structuredClone(this.stored)
  keep = async (stored: Stored) => {
    if (this.refuses) throw new DOMException('full', 'QuotaExceededError')
    this.stored = structuredClone(stored)
  }
  points = async () => this.list
  point = async (id: string) => this.docs.get(id) ?? null
  addPoint = async (point: Point, stored: Stored) => {
    this.docs.set(point.id, structuredClone(stored))
    this.list = [point, ...this.list].slice(0, MAX_POINTS)
  }
  makeRoom = async () => false
  aside: Stored | null = null
  setAside = async (stored: Stored) => {
    this.aside = stored
  }
}

let count = 0
let vault: MemoryVault
let last: Autosave | null = null

function visit(storage: Storage | null = localStorage): Autosave {
  count += 1
  docStore.setState(newDoc(), true)
  bindingStore.setState({ binding: null })
  return new Autosave(vault as unknown as Vault, storage, `test-${count}`)
}

/** A visit to the page, after whatever became of the one before. */
async function come(storage: Storage | null = localStorage): Promise<Autosave> {
  last?.stop()
  const autosave = visit(storage)
  last = autosave
  const started = autosave.start()
  await vi.advanceTimersByTimeAsync(300)
  await started
  return autosave
}

const history = () => (vault.stored?.doc as ProjectDoc | undefined)?.history ?? []
const type = (text: string) => changeDoc((doc) => ({ ...doc, history: [text, ...doc.history] }))
const typed = () => docStore.getState().history[0]
const settle = () => vi.advanceTimersByTimeAsync(1000)
const leave = () => window.dispatchEvent(new Event('pagehide'))

beforeEach(() => {
  vi.useFakeTimers()
  localStorage.clear()
  vault = new MemoryVault()
})
afterEach(() => {
  last?.stop()
  vi.useRealTimers()
})

describe('autosave', () => {
  it('stores a change within a second, and brings it back', async () => {
    await come()
    type('a')
    await settle()
    expect(history()).toEqual(['a'])
    leave()
    const next = await come()
    expect(typed()).toBe('a')
    expect(next.store.getState()).toMatchObject({ role: 'owner', recovered: null, problem: null })
  })
  it('loses nothing when the page goes away before it has stored', async () => {
    await come()
    type('last words')
    // A page that goes away is not given the time.
    vault.keep = () => new Promise(() => undefined)
    leave()
    await come()
    expect(typed()).toBe('last words')
  })
  it('takes over the document that an older version of the page had stored', async () => {
    localStorage.setItem('scope.project', JSON.stringify({ ...newDoc(), history: ['from before'] }))
    await come()
    await settle()
    expect(typed()).toBe('from before')
    expect(localStorage.getItem('scope.project')).toBeNull()
    expect(history()).toEqual(['from before'])
  })
  it('says after a crash what it has recovered, and knows the state before it', async () => {
    await come()
    type('before')
    await settle()
    leave()
    await come()
    type('lost?')
    await settle()
    // No pagehide: the process has gone.
    const third = await come()
    expect(typed()).toBe('lost?')
    const { recovered } = third.store.getState()
    const start = await third.read(recovered?.start ?? '')
    expect(start?.doc.history[0]).toBe('before')
    third.keepRecovered()
    const fourth = await come()
    expect(fourth.store.getState().recovered).toBeNull()
  })
  it('keeps no more than twenty earlier states, and one every few minutes of work', async () => {
    const autosave = await come()
    for (let minute = 0; minute < 100; minute++) {
      type(String(minute))
      await vi.advanceTimersByTimeAsync(60_000)
    }
    const points = await autosave.points()
    expect(points).toHaveLength(MAX_POINTS)
    const gaps = points.slice(1).map((point, i) => (points[i]?.at ?? 0) - point.at)
    expect(Math.min(...gaps)).toBeGreaterThan(150_000)
  })
  it('says once that nothing can be stored, and goes on', async () => {
    const autosave = await come(null)
    const said: unknown[] = []
    autosave.store.subscribe(({ problem }, before) => problem !== before.problem && said.push(problem))
    vault.refuses = true
    for (const text of ['a', 'b', 'c']) {
      type(text)
      await settle()
    }
    expect(said).toEqual(['full'])
    vault.refuses = false
    type('d')
    await settle()
    expect(autosave.store.getState().problem).toBeNull()
    expect(history()[0]).toBe('d')
  })
  it('leaves a document aside that it cannot read', async () => {
    vault.stored = { at: 1, doc: { version: 99 }, binding: null }
    const autosave = await come()
    expect(docStore.getState().version).toBe(1)
    expect(autosave.store.getState().unreadable).toBe(true)
    expect(vault.aside?.doc).toEqual({ version: 99 })
  })
})
