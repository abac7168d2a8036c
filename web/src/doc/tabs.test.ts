import { afterEach, describe, expect, it, vi } from 'vitest'
import { TabLock } from './tabs'

/** Without locks, as over an insecure connection; with them the browser stories play the same. */
class Tab {
  readonly gained = vi.fn()
  readonly lost = vi.fn()
  readonly flush = vi.fn(async () => undefined)
  readonly lock: TabLock

  constructor(name: string) {
    this.lock = new TabLock(name, { gained: this.gained, lost: this.lost, flush: this.flush })
  }
}

let count = 0
const two = () => {
  count += 1
  return [new Tab(`tabs-${count}`), new Tab(`tabs-${count}`)] as const
}

afterEach(() => vi.restoreAllMocks())

describe('of two tabs', () => {
  it('the first keeps the document', async () => {
    const [first, second] = two()
    expect(await first.lock.acquire()).toBe(true)
    expect(await second.lock.acquire()).toBe(false)
  })
  it('the second takes over after the first has written, and the first hears of it', async () => {
    const [first, second] = two()
    await first.lock.acquire()
    await second.lock.acquire()
    await second.lock.takeOver()
    expect(first.flush).toHaveBeenCalledOnce()
    await vi.waitFor(() => expect(first.lost).toHaveBeenCalledOnce())
    expect(second.lost).not.toHaveBeenCalled()
    // And back.
    await first.lock.takeOver()
    expect(second.flush).toHaveBeenCalledOnce()
    await vi.waitFor(() => expect(second.lost).toHaveBeenCalledOnce())
  })
  it('the second goes on by itself when the first has gone', async () => {
    const [first, second] = two()
    await first.lock.acquire()
    await second.lock.acquire()
    window.dispatchEvent(new Event('pagehide'))
    await vi.waitFor(() => expect(second.gained).toHaveBeenCalledOnce())
    expect(first.gained).not.toHaveBeenCalled()
  })
})
