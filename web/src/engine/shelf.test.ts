import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { SendOptions } from '../api/upload'
import { GRACE_MS, MAX_UPLOADS, Shelf } from './shelf'

interface Item {
  path: string
}

const file = (name: string, size = 4) => new File([new Uint8Array(size)], name)

/** A server whose uploads end when the test says so. */
function bench(stored: Item[] = []) {
  const running: { name: string; options: SendOptions; finish(): void; fail(): void }[] = []
  const removed: string[] = []
  const shelf = new Shelf<Item>({
    list: async () => [...stored],
    upload: (name, _data, options) =>
      new Promise((resolve, reject) => {
        options.signal?.addEventListener('abort', () => reject(new DOMException('cancelled', 'AbortError')))
        running.push({
          name,
          options,
          finish: () => resolve({ path: name }),
          fail: () => reject(new Error('no room')),
        })
      }),
    remove: async ({ path }) => {
      if (path === 'stuck') throw new Error('in use')
      removed.push(path)
    },
    refuse: ({ name }) => (name.endsWith('.exe') ? 'wrong_type' : null),
  })
  const paths = () => shelf.store.getState().items.map(({ path }) => path)
  return { shelf, running, removed, paths, uploads: () => shelf.store.getState().uploads }
}

describe('uploads', () => {
  it('go two at a time, tell how far they are, and become items', async () => {
    const { shelf, running, uploads, paths } = bench()
    const done = shelf.upload([file('a.png'), file('b.png'), file('c.png')])
    expect(running.map(({ name }) => name)).toEqual(['a.png', 'b.png'])
    running[0]?.options.onProgress?.(2, 4)
    expect(uploads().map(({ sent }) => sent)).toEqual([2, 0, 0])
    running[0]?.finish()
    await vi.waitFor(() => expect(running).toHaveLength(3))
    for (const { finish } of running) finish()
    expect((await done).map(({ path }) => path)).toEqual(['a.png', 'b.png', 'c.png'])
    expect(uploads()).toEqual([])
    expect(paths().toSorted()).toEqual(['a.png', 'b.png', 'c.png'])
  })
  it('keep those that failed, with the reason, until they are dismissed', async () => {
    const { shelf, running, uploads } = bench()
    const done = shelf.upload([file('a.png'), file('virus.exe')])
    running[0]?.fail()
    expect(await done).toEqual([])
    expect(uploads().map(({ name, problem }) => [name, problem?.code])).toEqual([
      ['a.png', 'internal'],
      ['virus.exe', 'wrong_type'],
    ])
    for (const { id } of uploads()) shelf.dismiss(id)
    expect(uploads()).toEqual([])
  })
  it('are cancelled while they run and while they wait', async () => {
    const { shelf, running, uploads } = bench()
    const done = shelf.upload([file('a.png'), file('b.png'), file('c.png')])
    const [a, , c] = uploads()
    shelf.dismiss(c?.id ?? '')
    shelf.dismiss(a?.id ?? '')
    running[1]?.finish()
    expect((await done).map(({ path }) => path)).toEqual(['b.png'])
    expect(running.map(({ name }) => name)).toEqual(['a.png', 'b.png'])
  })
  it('are bounded', async () => {
    const { shelf, uploads } = bench()
    void shelf.upload(Array.from({ length: MAX_UPLOADS + 5 }, (_, i) => file(`${i}.png`)))
    expect(uploads()).toHaveLength(MAX_UPLOADS)
    expect(uploads().filter(({ problem }) => problem?.code === 'too_many')).toHaveLength(5)
  })
})

describe('a deletion', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('can be taken back for a while, and puts the item where it was', async () => {
    const { shelf, removed, paths } = bench([{ path: 'a' }, { path: 'b' }, { path: 'c' }])
    await shelf.refresh()
    const undo = shelf.remove({ path: 'b' })
    expect(paths()).toEqual(['a', 'c'])
    await shelf.refresh()
    expect(paths()).toEqual(['a', 'c'])
    undo()
    expect(paths()).toEqual(['a', 'b', 'c'])
    await vi.advanceTimersByTimeAsync(GRACE_MS * 2)
    expect(removed).toEqual([])
  })
  it('is carried out when nobody takes it back, once', async () => {
    const { shelf, removed, paths } = bench([{ path: 'a' }])
    await shelf.refresh()
    const undo = shelf.remove({ path: 'a' })
    shelf.remove({ path: 'a' })
    await vi.advanceTimersByTimeAsync(GRACE_MS)
    expect(removed).toEqual(['a'])
    undo()
    expect(paths()).toEqual([])
  })
  it('is carried out at once when the page goes away', async () => {
    const { shelf, removed } = bench([{ path: 'a' }])
    await shelf.refresh()
    shelf.remove({ path: 'a' })
    shelf.flush()
    await vi.advanceTimersByTimeAsync(GRACE_MS)
    expect(removed).toEqual(['a'])
  })
  it('that the server refuses brings the item back, and says why', async () => {
    const { shelf, paths } = bench([{ path: 'stuck' }])
    await shelf.refresh()
    shelf.remove({ path: 'stuck' })
    await vi.advanceTimersByTimeAsync(GRACE_MS)
    expect(paths()).toEqual(['stuck'])
    expect(shelf.store.getState().problem?.message).toBe('in use')
  })
})
