import type { Block, ProjectDoc } from '../doc/model'
import { amendLive, closeLive, endOf, openBlock, type Take } from '../doc/timeline'

export type TransportState = 'stopped' | 'armed' | 'rolling' | 'paused'

interface BlockStore {
  get(): readonly Block[]
  set(blocks: Block[]): void
}

/**
 * The clock of the performance. It is armed by Start, rolls from the first decoded frame, and stands still while the
 * picture does. Blocks change only here, so that takes land on the time the viewer saw.
 */
export class Transport {
  private state: TransportState = 'stopped'
  private frozen = false
  /** Media time at `anchorWall`, both in milliseconds. */
  private anchorMedia = 0
  private anchorWall = 0
  private readonly listeners = new Set<() => void>()

  constructor(
    private readonly blocks: BlockStore,
    private readonly now: () => number = () => performance.now(),
  ) {}

  get current(): TransportState {
    return this.state
  }

  /** True while time really passes. */
  get running(): boolean {
    return this.state === 'rolling' && !this.frozen
  }

  get stalled(): boolean {
    return this.state === 'rolling' && this.frozen
  }

  time(): number {
    return this.running ? this.anchorMedia + (this.now() - this.anchorWall) : this.anchorMedia
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** Waits for the first frame; new takes will follow whatever the timeline already holds. */
  arm(): void {
    if (this.state !== 'stopped') return
    this.anchorMedia = endOf(this.blocks.get(), 0)
    this.frozen = false
    this.change('armed')
  }

  /** The first decoded frame is on screen: time starts and what is on air becomes the first block. */
  firstFrame(onAir: Take): void {
    if (this.state !== 'armed') return
    this.anchorWall = this.now()
    this.blocks.set(openBlock(this.blocks.get(), this.anchorMedia, onAir))
    this.change('rolling')
  }

  pause(): void {
    if (this.state !== 'rolling') return
    this.hold()
    this.change('paused')
  }

  resume(): void {
    if (this.state !== 'paused') return
    this.anchorWall = this.now()
    this.change('rolling')
  }

  /** No new frame arrives: time stands still until `thaw`. */
  freeze(): void {
    if (this.frozen) return
    this.hold()
    this.frozen = true
    this.notify()
  }

  thaw(): void {
    if (!this.frozen) return
    this.frozen = false
    this.anchorWall = this.now()
    this.notify()
  }

  /** Ends the live block and goes back to zero; the blocks stay. */
  stop(): void {
    if (this.state === 'stopped') return
    this.blocks.set(closeLive(this.blocks.get(), this.time()))
    this.anchorMedia = 0
    this.frozen = false
    this.change('stopped')
  }

  /** Records a take at the present time. Before the first frame there is nothing to cut: `firstFrame` opens it. */
  take(take: Take): void {
    if (this.state !== 'rolling' && this.state !== 'paused') return
    this.blocks.set(openBlock(this.blocks.get(), this.time(), take))
    this.notify()
  }

  amend(prompts: Take['prompts']): void {
    if (this.state !== 'rolling' && this.state !== 'paused') return
    this.blocks.set(amendLive(this.blocks.get(), prompts))
    this.notify()
  }

  private hold(): void {
    this.anchorMedia = this.time()
    this.anchorWall = this.now()
  }

  private change(state: TransportState): void {
    this.state = state
    this.notify()
  }

  private notify(): void {
    for (const listener of this.listeners) listener()
  }
}

/** Binds a transport's blocks to the document. */
export function docBlocks(read: () => ProjectDoc, change: (next: (doc: ProjectDoc) => ProjectDoc) => void): BlockStore {
  return {
    get: () => read().blocks,
    set: (blocks) => change((doc) => ({ ...doc, blocks })),
  }
}
