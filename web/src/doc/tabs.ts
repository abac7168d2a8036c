/** Which of several tabs keeps the document: one at a time, and the last one that asked for it. */

interface Message {
  /** `who` and `here`: is there an owner? `flush` and `flushed`: write what is not written. `yield`, `free`: without locks. */
  type: 'who' | 'here' | 'flush' | 'flushed' | 'yield' | 'free'
}

export interface TabEvents {
  gained(): void
  lost(): void
  /** Another tab is about to take over: writes what is not written yet. */
  flush(): Promise<void>
}

const ANSWER_MS = 250
const FLUSH_MS = 800

export class TabLock {
  private owner = false
  private readonly channel: BroadcastChannel | null
  private readonly locks: LockManager | null
  private queue: AbortController | null = null
  private heard: ((type: Message['type']) => void) | null = null

  constructor(
    private readonly name: string,
    private readonly events: TabEvents,
  ) {
    this.channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel(name)
    // Pages that came over an insecure connection have no locks.
    this.locks = typeof navigator === 'undefined' ? null : (navigator.locks ?? null)
    this.channel?.addEventListener('message', (event: MessageEvent<Message>) => this.receive(event.data.type))
    if (this.locks) return
    window.addEventListener('pagehide', () => this.leave())
    window.addEventListener('pageshow', (event) => event.persisted && this.comeBack())
  }

  private leave(): void {
    if (!this.owner) return
    this.owner = false
    this.say('free')
  }

  /** Out of the browser's memory of pages: another tab may have it by now. */
  private comeBack(): void {
    void this.acquire().then((held) => (held ? this.events.gained() : this.events.lost()))
  }

  /** Asks to be the one; if another is, waits in the background until it has gone. */
  async acquire(): Promise<boolean> {
    if (!this.locks) {
      this.owner = !(await this.answer('who', 'here', ANSWER_MS))
      return this.owner
    }
    this.owner = await this.hold({ ifAvailable: true })
    if (!this.owner) this.wait()
    return this.owner
  }

  /** Becomes the one, after the other has written what it has. */
  async takeOver(): Promise<void> {
    if (this.owner) return
    await this.answer('flush', 'flushed', FLUSH_MS)
    this.queue?.abort()
    this.queue = null
    if (this.locks) await this.hold({ steal: true })
    else this.say('yield')
    this.owner = true
  }

  private hold(options: LockOptions): Promise<boolean> {
    return new Promise((resolve) => {
      this.locks
        ?.request(this.name, options, (lock) => {
          resolve(lock !== null)
          // Held for as long as the page lives, or until another tab takes it.
          return lock === null ? undefined : new Promise<void>(() => undefined)
        })
        .catch(() => this.stolen(resolve))
    })
  }

  private stolen(resolve: (held: boolean) => void): void {
    resolve(false)
    if (!this.owner) return
    this.owner = false
    this.events.lost()
    this.wait()
  }

  private wait(): void {
    const queue = new AbortController()
    this.queue = queue
    void this.hold({ signal: queue.signal }).then((held) => {
      if (!held || queue.signal.aborted) return
      this.queue = null
      this.owner = true
      this.events.gained()
    })
  }

  private say(type: Message['type']): void {
    this.channel?.postMessage({ type } satisfies Message)
  }

  private answer(question: Message['type'], wanted: Message['type'], ms: number): Promise<boolean> {
    if (!this.channel) return Promise.resolve(false)
    return new Promise((resolve) => {
      const end = (found: boolean) => {
        clearTimeout(timer)
        this.heard = null
        resolve(found)
      }
      const timer = setTimeout(() => end(false), ms)
      this.heard = (type) => type === wanted && end(true)
      this.say(question)
    })
  }

  private receive(type: Message['type']): void {
    this.heard?.(type)
    if (this.owner && type === 'who') this.say('here')
    if (this.owner && type === 'flush') void this.events.flush().finally(() => this.say('flushed'))
    if (this.locks) return
    if (this.owner && type === 'yield') {
      this.owner = false
      this.events.lost()
    } else if (!this.owner && type === 'free') {
      void this.acquire().then((held) => held && this.events.gained())
    }
  }
}
