import type { Block, Loop, ProjectDoc, WirePrompt } from '../doc/model'
import { samePrompts } from '../doc/prompts'
import {
  amendBlock,
  blockUnder,
  closeLive,
  endOf,
  heldBlock,
  liveBlock,
  openBlock,
  overdub,
  type Take,
} from '../doc/timeline'

export type TransportState = 'stopped' | 'armed' | 'rolling' | 'paused'
/** Live: at the end, where the open block grows. Replay: the blocks play. Overdub: a take made during replay plays. */
export type TransportMode = 'live' | 'replay' | 'overdub'

/** What the page shows of the transport besides the time. A new object whenever something in it changes. */
export interface TransportView {
  state: TransportState
  mode: TransportMode
  /** The block under the playhead while performing. */
  activeId: string | null
  /** Start will play from the playhead, because somebody has put it there. */
  cued: boolean
}

/** The timeline as the transport plays and writes it. */
export interface Score {
  blocks(): readonly Block[]
  loop(): Loop | null
  /** What playing adds. */
  grow(blocks: Block[]): void
  /** A take that replaces what was there, and that can be undone. */
  replace(blocks: Block[]): void
  /** Calls when blocks or loop have changed. */
  subscribe(changed: () => void): void
}

export interface Timer {
  now(): number
  /** Calls `run` once after `ms`; the answer cancels. */
  after(ms: number, run: () => void): () => void
}

const BROWSER_TIMER: Timer = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, Math.ceil(ms))
    return () => clearTimeout(timer)
  },
}

/** A timer that comes late, as in a hidden tab, makes no gap before what goes live. */
const LATE_MS = 1000

/**
 * The clock of the performance. It is armed by Start, rolls from the first decoded frame, and stands still while the
 * picture does. At the end of the timeline it is live; before it, it replays. Takes change blocks only here, so that they
 * land on the time the viewer saw.
 */
export class Transport {
  /** A block has come under the playhead, and its prompts are not on air yet. */
  onBlock: (block: Block) => void = () => undefined
  /** Takes during replay go to the end of the timeline instead of replacing what is under the playhead. */
  appends = false
  /** Going back begins the picture anew instead of leading over to what is there. */
  cutsBack = false
  private state: TransportState = 'stopped'
  private frozen = false
  private scrubbing = false
  private scrubbedFrom = 0
  /** What is played next is a hard cut, whatever its block says. */
  private cutNext = false
  /** Media time at `anchorWall`, both in milliseconds. */
  private anchorMedia = 0
  private anchorWall = 0
  /** Where Start begins, if somebody has put the playhead there; else it goes live at the end. */
  private cue: number | null = null
  private overdubId: string | null = null
  /** The block that has been dealt with, as it was then. */
  private handled: { id: string; prompts: readonly WirePrompt[] } | null = null
  private air: readonly WirePrompt[] = []
  private following = false
  private cancel: () => void = () => undefined
  private shown: TransportView = { state: 'stopped', mode: 'live', activeId: null, cued: false }
  private readonly listeners = new Set<() => void>()

  constructor(
    private readonly score: Score,
    private readonly timer: Timer = BROWSER_TIMER,
  ) {
    score.subscribe(() => this.follow())
  }

  get current(): TransportState {
    return this.state
  }

  get view(): TransportView {
    return this.shown
  }

  /** True while time really passes. */
  get running(): boolean {
    return this.state === 'rolling' && !this.frozen && !this.scrubbing
  }

  get stalled(): boolean {
    return this.state === 'rolling' && this.frozen
  }

  time(): number {
    return this.running ? this.anchorMedia + (this.timer.now() - this.anchorWall) : this.anchorMedia
  }

  /** Whether playing adds to the end of the timeline. */
  atEnd(): boolean {
    if (!this.performing) return false
    const blocks = this.score.blocks()
    return liveBlock(blocks) !== null || this.time() >= endOf(blocks, 0)
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** Waits for the first frame. Without a cue new takes will follow whatever the timeline already holds. */
  arm(): void {
    if (this.state !== 'stopped') return
    this.anchorMedia = this.cue ?? endOf(this.score.blocks(), 0)
    this.frozen = false
    this.state = 'armed'
    this.follow()
  }

  /** The prompts that Start begins with when it plays from the playhead. */
  cuedPrompts(): readonly WirePrompt[] | null {
    if (this.cue === null) return null
    const blocks = this.score.blocks()
    const prompts = this.cue < endOf(blocks, 0) ? heldBlock(blocks, this.cue)?.prompts : null
    return prompts && prompts.length > 0 ? prompts : null
  }

  /** The first decoded frame is on screen: time starts, from the cue or with a block for what is on air. */
  firstFrame(onAir: Take): void {
    if (this.state !== 'armed') return
    const blocks = this.score.blocks()
    this.air = onAir.prompts
    this.handled = null
    this.state = 'rolling'
    this.moveTo(this.cue ?? endOf(blocks, 0))
    if (this.cue === null || this.cue >= endOf(blocks, 0)) this.goLive(onAir)
    else {
      const held = heldBlock(blocks, this.cue)
      if (held && samePrompts(held.prompts, onAir.prompts)) this.handled = { id: held.id, prompts: held.prompts }
    }
    this.cue = null
    this.follow()
  }

  pause(): void {
    if (this.state !== 'rolling') return
    this.hold(() => {
      this.state = 'paused'
    })
  }

  resume(): void {
    if (this.state !== 'paused') return
    this.hold(() => {
      this.state = 'rolling'
    })
  }

  /** No new frame arrives: time stands still until `thaw`. */
  freeze(): void {
    if (this.frozen) return
    this.hold(() => {
      this.frozen = true
    })
  }

  thaw(): void {
    if (!this.frozen) return
    this.hold(() => {
      this.frozen = false
    })
  }

  /** Ends the live block and goes back to zero; the blocks stay. */
  stop(): void {
    if (this.state === 'stopped') return
    this.quietly(() => this.score.grow(closeLive(this.score.blocks(), this.time())))
    this.state = 'stopped'
    this.frozen = false
    this.cue = null
    this.overdubId = null
    this.handled = null
    this.cutNext = false
    this.air = []
    this.anchorMedia = 0
    this.follow()
  }

  /** Puts the playhead somewhere on the timeline; at its end it is live. */
  seek(ms: number): void {
    const blocks = this.score.blocks()
    const end = endOf(blocks, this.time())
    const to = Math.round(Math.min(Math.max(0, ms), end))
    if (!this.performing) {
      this.cue = to
      this.anchorMedia = to
    } else {
      const live = liveBlock(blocks)
      if (live && to >= end) return
      if (live) this.quietly(() => this.score.grow(closeLive(this.score.blocks(), this.time())))
      // A hand that moves back and forth cuts once, when it lets go.
      if (!this.scrubbing && to < this.time()) this.cutNext = this.cutsBack
      this.moveTo(to)
    }
    this.follow()
  }

  /** Holds the clock while the playhead is in somebody's hand. */
  beginScrub(): void {
    this.scrubbedFrom = this.time()
    this.hold(() => {
      this.scrubbing = true
    })
  }

  endScrub(): void {
    if (!this.scrubbing) return
    if (this.time() < this.scrubbedFrom) this.cutNext = this.cutsBack
    this.hold(() => {
      this.scrubbing = false
    })
  }

  /** Moves the clock along with an edit that moves the live end; the blocks follow right after. */
  shift(ms: number): void {
    this.moveTo(Math.max(0, this.time() + ms))
  }

  /**
   * Records a take at the present time; false where a locked block keeps it out. Before the first frame there is nothing to
   * cut: `firstFrame` opens it.
   */
  take(take: Take): boolean {
    if (this.state === 'armed') this.dropCue()
    if (!this.performing) return true
    this.air = take.prompts
    const id = this.record(take)
    if (id === null) return false
    const block = this.score.blocks().find((entry) => entry.id === id)
    // One that had to wait for the shortest block before it, or that goes to the end, is played where it is.
    if (block && block.startMs > this.time()) this.moveTo(block.startMs)
    this.handled = { id, prompts: take.prompts }
    this.follow()
    return true
  }

  /** Weights moved live: they change the live take or the overdub, or begin one. */
  amend(prompts: readonly WirePrompt[]): void {
    if (!this.performing) return
    const blocks = this.score.blocks()
    const under = blockUnder(blocks, this.time())
    const own = under && (under.endMs === null || under.id === this.overdubId) ? under : null
    if (!own) {
      this.take({ prompts, transition: null, cut: 'soft' })
      return
    }
    this.air = prompts
    this.handled = { id: own.id, prompts }
    this.quietly(() => this.score.grow(amendBlock(blocks, own.id, prompts)))
    this.follow()
  }

  /** Somebody wants something else to begin with than what the playhead was put on: it goes live at the end. */
  private dropCue(): void {
    this.cue = null
    this.moveTo(endOf(this.score.blocks(), 0))
    this.follow()
  }

  private get performing(): boolean {
    return this.state === 'rolling' || this.state === 'paused'
  }

  /** Writes a take into the blocks; answers its block. */
  private record(take: Take): string | null {
    const blocks = this.score.blocks()
    const end = endOf(blocks, 0)
    if (liveBlock(blocks) || this.appends || this.time() >= end) {
      const opened = openBlock(blocks, Math.max(this.time(), liveBlock(blocks) ? 0 : end), take)
      this.quietly(() => this.score.grow(opened))
      this.overdubId = null
      return opened.at(-1)?.id ?? null
    }
    const made = overdub(blocks, this.time(), take, this.overdubId)
    if (made) {
      this.quietly(() => this.score.replace(made.blocks))
      this.overdubId = made.id
    }
    return made?.id ?? null
  }

  /** Opens a block at the end. */
  private goLive(take: Take): void {
    const blocks = this.score.blocks()
    const end = endOf(blocks, 0)
    const opened = openBlock(blocks, this.time() - end < LATE_MS ? end : this.time(), take)
    this.quietly(() => this.score.grow(opened))
    this.overdubId = null
    this.handled = { id: opened.at(-1)?.id ?? '', prompts: take.prompts }
  }

  private moveTo(ms: number): void {
    this.anchorMedia = ms
    this.anchorWall = this.timer.now()
  }

  private hold(change: () => void): void {
    this.moveTo(this.time())
    change()
    this.follow()
  }

  private quietly(change: () => void): void {
    const before = this.following
    this.following = true
    change()
    this.following = before
  }

  /** Brings everything in line with the time and the blocks: what is live, what is on air, when to look again. */
  private follow(): void {
    if (this.following) return
    this.following = true
    if (this.running) this.loopBack()
    if (this.running && !liveBlock(this.score.blocks()) && this.atEnd()) {
      this.goLive({ prompts: this.air, transition: null, cut: 'soft' })
    }
    if (this.state === 'rolling') this.play()
    this.following = false
    this.schedule()
    this.publish()
  }

  /** Where the loop ends for what is replayed, null where none is ahead of the playhead. */
  private loopEnd(): number | null {
    const loop = this.score.loop()
    const blocks = this.score.blocks()
    if (!loop?.on || liveBlock(blocks)) return null
    const end = Math.min(loop.outMs, endOf(blocks, 0))
    return this.anchorMedia < end && end > loop.inMs ? end : null
  }

  private loopBack(): void {
    const end = this.loopEnd()
    const time = this.time()
    const start = this.score.loop()?.inMs ?? 0
    if (end !== null && time >= end) this.moveTo(start + ((time - end) % (end - start)))
  }

  private play(): void {
    const held = heldBlock(this.score.blocks(), this.time())
    if (!held || held.prompts.length === 0) return
    const entered = held.id !== this.handled?.id
    const cut = this.cutNext && !this.scrubbing
    if (cut) this.cutNext = false
    else if (!entered && samePrompts(held.prompts, this.handled?.prompts ?? [])) return
    this.handled = { id: held.id, prompts: held.prompts }
    if (!cut && samePrompts(held.prompts, this.air) && !(entered && held.cut === 'hard')) return
    this.air = held.prompts
    this.onBlock(cut ? { ...held, transition: null, cut: 'hard' } : held)
  }

  private schedule(): void {
    this.cancel()
    this.cancel = () => undefined
    if (!this.running) return
    const time = this.time()
    const ahead = this.score.blocks().flatMap(({ startMs, endMs }) => [startMs, endMs ?? 0])
    const next = Math.min(...[...ahead, this.loopEnd() ?? 0].filter((ms) => ms > time))
    if (next < Number.POSITIVE_INFINITY) this.cancel = this.timer.after(next - time, () => this.follow())
  }

  private publish(): void {
    const under = this.performing ? blockUnder(this.score.blocks(), this.time()) : null
    const live = this.performing ? this.atEnd() : this.cue === null
    const mode = live ? 'live' : under && under.id === this.overdubId ? 'overdub' : 'replay'
    const next = { state: this.state, mode, activeId: under?.id ?? null, cued: this.cue !== null } as const
    const keys = Object.keys(next) as (keyof TransportView)[]
    if (keys.some((key) => next[key] !== this.shown[key])) this.shown = next
    for (const listener of this.listeners) listener()
  }
}

interface Editing {
  read(): ProjectDoc
  change(next: (doc: ProjectDoc) => ProjectDoc): void
  /** As one step that can be undone. */
  edit(next: (doc: ProjectDoc) => ProjectDoc): void
  subscribe(heard: (doc: ProjectDoc, before: ProjectDoc) => void): void
}

/** Binds a transport to the document. */
export function scoreOf({ read, change, edit, subscribe }: Editing): Score {
  const setting = (blocks: Block[]) => (doc: ProjectDoc) => ({ ...doc, blocks })
  return {
    blocks: () => read().blocks,
    loop: () => read().loop,
    grow: (blocks) => change(setting(blocks)),
    replace: (blocks) => edit(setting(blocks)),
    subscribe: (changed) =>
      subscribe((doc, before) => {
        if (doc.blocks !== before.blocks || doc.loop !== before.loop) changed()
      }),
  }
}
