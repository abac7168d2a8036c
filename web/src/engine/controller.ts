import { createStore } from 'zustand/vanilla'
import {
  ghost,
  type Hold,
  type Mapping,
  type MapSource,
  type Movement,
  moved,
  newMapping,
  sameControl,
  type TargetKind,
  UNHELD,
} from './mapping'
import type { Midi, MidiMessage } from './midi'
import { keepProfiles, mappingsOf, type Profiles, readProfiles, withMappings } from './profiles'

/** Something that a controller can move. Values are fractions of its range. */
export interface Target {
  id: string
  label: string
  group: string
  kind: TargetKind
  /** How many values a cycle through it has. */
  steps: number
  read(): number | null
  write(value: number): void
  press(): void
}

export interface ControllerState extends Profiles {
  /** The target that the next control that moves is mapped to. */
  learning: string | null
}

/** After this time the fine part of a 14-bit controller would have come. */
const FINE_MS = 400
const FINE_OFFSET = 32

export interface ControllerDeps {
  midi: Midi
  resolve(id: string): Target | null
  storage: Pick<Storage, 'getItem' | 'setItem'>
  defaultName: string
  newId(): string
  /** Runs something soon, once for many calls: by default with the next picture of the page. */
  soon?(run: () => void): void
  now?(): number
}

const withNextFrame = (run: () => void) => {
  if (document.hidden) setTimeout(run, 33)
  else requestAnimationFrame(run)
}

/** Moves targets by what is mapped to them. Values leave together and at most once per picture of the page. */
export class Controller {
  readonly store
  private readonly holds = new Map<string, Hold>()
  private readonly pending = new Map<string, number>()
  private readonly fine = new Map<string, number>()
  private readonly painters = new Set<() => void>()
  private scheduled = false
  private learned: { id: string; at: number } | null = null

  constructor(private readonly deps: ControllerDeps) {
    this.store = createStore<ControllerState>(() => ({
      ...readProfiles(deps.storage, deps.defaultName),
      learning: null,
    }))
    deps.midi.onMessage = (message) => this.midi(message)
    this.store.subscribe(({ active, profiles }, before) => {
      if (profiles !== before.profiles || active !== before.active) keepProfiles(deps.storage, { active, profiles })
      if (active !== before.active) this.holds.clear()
    })
  }

  get mappings(): readonly Mapping[] {
    return mappingsOf(this.store.getState())
  }

  /** Calls `paint` now, and when hardware has moved. */
  subscribe(paint: () => void): () => void {
    this.painters.add(paint)
    paint()
    return () => this.painters.delete(paint)
  }

  /** Where the hardware of a target waits to be picked up; null when nothing waits. */
  ghostOf(target: string): number | null {
    for (const mapping of this.mappings) {
      if (mapping.target !== target) continue
      const at = ghost(mapping, this.holds.get(mapping.id) ?? UNHELD)
      if (at !== null) return at
    }
    return null
  }

  /** Where the hardware of a mapping is; null until it has moved. */
  positionOf(id: string): number | null {
    return this.holds.get(id)?.at ?? null
  }

  /** The next control that moves is mapped to this. Asks for MIDI when nobody has yet. */
  learn(target: string | null): void {
    this.store.setState({ learning: target })
    if (target !== null) void this.deps.midi.start()
  }

  change(id: string, change: Partial<Omit<Mapping, 'id'>>): void {
    this.holds.delete(id)
    this.setMappings(this.mappings.map((mapping) => (mapping.id === id ? { ...mapping, ...change } : mapping)))
  }

  remove(id: string): void {
    this.holds.delete(id)
    this.setMappings(this.mappings.filter((mapping) => mapping.id !== id))
  }

  setProfiles({ active, profiles }: Profiles): void {
    this.store.setState({ active, profiles })
  }

  /** A key of the keyboard went down or up; true when something is mapped to it. */
  key(chord: string, down: boolean): boolean {
    const source: MapSource = { kind: 'key', device: null, channel: 0, number: 0, chord }
    if (down && this.store.getState().learning !== null) {
      this.bind(source)
      return true
    }
    return this.move(source, () => ({ kind: 'position', at: down ? 1 : 0 }))
  }

  midi(message: MidiMessage): void {
    const { kind, device, channel, number, value } = message
    const source: MapSource = { kind, device, channel, number }
    if (this.refines(message)) return
    const { learning } = this.store.getState()
    if (learning !== null) {
      // Letting a pad go is no choice of it.
      if (kind !== 'note' || value > 0) this.bind(source)
      return
    }
    this.move(source, (mapping) => this.movement(mapping, message))
  }

  private movement({ source }: Mapping, { kind, value, number, channel, device }: MidiMessage): Movement | null {
    if (kind === 'bend') return { kind: 'position', at: value / 16383 }
    if (kind === 'note') return { kind: 'position', at: value > 0 ? Math.max(0.5, value / 127) : 0 }
    switch (source.kind) {
      case 'endless':
        return { kind: 'steps', by: value < 64 ? value : value - 128 }
      case 'endless64':
        return { kind: 'steps', by: value - 64 }
      case 'cc14': {
        const low = this.fine.get(`${device} ${channel} ${number}`) ?? 0
        return { kind: 'position', at: ((value << 7) | low) / 16383 }
      }
      default:
        return { kind: 'position', at: value / 127 }
    }
  }

  /** The fine part of a 14-bit controller: remembered, and it tells a control that was just learned for what it is. */
  private refines({ kind, device, channel, number, value }: MidiMessage): boolean {
    if (kind !== 'cc' || number < FINE_OFFSET || number >= 2 * FINE_OFFSET) return false
    const coarse: MapSource = { kind: 'cc', device, channel, number: number - FINE_OFFSET }
    const { learned } = this
    const fresh = this.mappings.find(({ id }) => id === learned?.id)
    if (learned && fresh && fresh.source.kind === 'cc' && sameControl(fresh.source, coarse)) {
      if (this.now() - learned.at <= FINE_MS) this.change(fresh.id, { source: { ...fresh.source, kind: 'cc14' } })
    }
    const mapped = this.mappings.filter(({ source }) => source.kind === 'cc14' && sameControl(source, coarse))
    if (mapped.length === 0) return false
    this.fine.set(`${device} ${channel} ${coarse.number}`, value)
    for (const mapping of mapped) {
      const at = this.holds.get(mapping.id)?.at
      if (at === null || at === undefined) continue
      const high = Math.round(at * 16383) >> 7
      this.apply(mapping, { kind: 'position', at: ((high << 7) | value) / 16383 })
    }
    return true
  }

  private bind(source: MapSource): void {
    const { learning } = this.store.getState()
    const target = learning === null ? null : this.deps.resolve(learning)
    this.store.setState({ learning: null })
    if (!target) return
    const mapping = newMapping(this.deps.newId(), source, target.id, target.kind)
    // A control that is mapped to a target again is mapped anew, not twice.
    const others = this.mappings.filter((old) => old.target !== target.id || !sameControl(old.source, source))
    this.learned = { id: mapping.id, at: this.now() }
    this.setMappings([...others, mapping])
  }

  private move(source: MapSource, movement: (mapping: Mapping) => Movement | null): boolean {
    const mapped = this.mappings.filter((mapping) => sameControl(mapping.source, source))
    for (const mapping of mapped) {
      const made = movement(mapping)
      if (made) this.apply(mapping, made)
    }
    return mapped.length > 0
  }

  private apply(mapping: Mapping, movement: Movement): void {
    const target = this.deps.resolve(mapping.target)
    if (!target) return
    const now = this.pending.get(target.id) ?? target.read()
    const { hold, value, press } = moved(mapping, this.holds.get(mapping.id) ?? UNHELD, movement, now, target.steps)
    this.holds.set(mapping.id, hold)
    if (target.kind === 'action') {
      if (press) target.press()
    } else if (value !== null) {
      this.pending.set(target.id, value)
    }
    this.schedule()
  }

  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    const soon = this.deps.soon ?? withNextFrame
    soon(() => {
      this.scheduled = false
      for (const [id, value] of this.pending) this.settle(id, value)
      this.pending.clear()
      for (const paint of this.painters) paint()
    })
  }

  /** What was written may have been rounded to the target's own steps: hardware holds what came of it. */
  private settle(id: string, value: number): void {
    const target = this.deps.resolve(id)
    if (!target) return
    target.write(value)
    const now = target.read()
    for (const mapping of this.mappings) {
      const hold = this.holds.get(mapping.id)
      if (mapping.target === id && hold?.value === value) this.holds.set(mapping.id, { ...hold, value: now })
    }
  }

  private setMappings(mappings: readonly Mapping[]): void {
    const { active, profiles } = this.store.getState()
    this.store.setState(withMappings({ active, profiles }, mappings))
    for (const paint of this.painters) paint()
  }

  private now(): number {
    return this.deps.now?.() ?? performance.now()
  }
}
