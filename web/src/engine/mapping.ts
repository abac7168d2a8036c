import { z } from '../api/zod'

/**
 * What a controller's movement means for what it is mapped to. Positions of hardware and values of targets are fractions of
 * their ranges, 0 to 1. Pure.
 */

export const sourceSchema = z.object({
  /**
   * `cc`: a knob or fader of 7 bits; `cc14`: one of 14, whose fine part is the controller 32 above; `endless` and `endless64`:
   * an encoder that sends steps, in two's complement or around 64; `note`, `bend`; `key`: of the computer's keyboard.
   */
  kind: z.enum(['cc', 'cc14', 'endless', 'endless64', 'note', 'bend', 'key']),
  /** Name of the device; null for any. */
  device: z.nullable(z.string()),
  channel: z.int().check(z.gte(0), z.lte(15)),
  number: z.int().check(z.gte(0), z.lte(127)),
  /** For `key`. */
  chord: z.optional(z.string()),
})
export type MapSource = z.infer<typeof sourceSchema>

export const CURVES = ['linear', 'slow', 'fast', 's'] as const
export const MODES = ['continuous', 'toggle', 'trigger', 'gate', 'cycle'] as const
export const TAKE_OVERS = ['none', 'pickup', 'scale'] as const

export const mappingSchema = z.object({
  id: z.string(),
  source: sourceSchema,
  target: z.string(),
  min: z.number().check(z.gte(0), z.lte(1)),
  max: z.number().check(z.gte(0), z.lte(1)),
  curve: z.enum(CURVES),
  invert: z.boolean(),
  mode: z.enum(MODES),
  takeOver: z.enum(TAKE_OVERS),
})
export type Mapping = z.infer<typeof mappingSchema>
export type Mode = Mapping['mode']

/** What can be moved: a value in a range, one of some choices, something on or off, something that happens. */
export type TargetKind = 'range' | 'choice' | 'switch' | 'action'

/** One movement of a control. Buttons and keys are at 0 or 1, pads in between by how hard they are hit. */
export type Movement = { kind: 'position'; at: number } | { kind: 'steps'; by: number }

/** What is remembered of a mapping between movements. */
export interface Hold {
  /** Where the hardware is; null until it has moved. */
  at: number | null
  /** The value that it was last set to here; null when hardware and value have not met. */
  value: number | null
}
export const UNHELD: Hold = { at: null, value: null }

export interface Outcome {
  hold: Hold
  /** The target's new value; null when it stays. */
  value: number | null
  /** The target is an action, and it happens. */
  press: boolean
}

/** As near as a hand can put a knob of 7 bits. */
export const NEAR = 1.5 / 127
/** A value that is this far from where it was put was moved by somebody else. */
const MOVED = 1e-4
const STEP = 1 / 64
const PRESSED = 0.5

const clamp = (value: number, low = 0, high = 1) => Math.min(high, Math.max(low, value))

const SHAPE: Record<Mapping['curve'], (x: number) => number> = {
  linear: (x) => x,
  slow: (x) => x * x,
  fast: (x) => 1 - (1 - x) * (1 - x),
  s: (x) => x * x * (3 - 2 * x),
}

/** The value that a position stands for. */
export function shaped(
  { min, max, curve, invert }: Pick<Mapping, 'min' | 'max' | 'curve' | 'invert'>,
  at: number,
): number {
  const x = SHAPE[curve](clamp(invert ? 1 - at : at))
  return min + (max - min) * x
}

/** Which modes make sense. */
export function modesFor(kind: TargetKind): readonly Mode[] {
  switch (kind) {
    case 'range':
      return ['continuous', 'toggle', 'gate', 'cycle']
    case 'choice':
      return ['continuous', 'cycle']
    case 'switch':
      return ['toggle', 'gate', 'continuous']
    case 'action':
      return ['trigger', 'gate']
  }
}

/** What is most likely meant when a control is mapped to a target. */
export function defaultMode(source: MapSource['kind'], target: TargetKind): Mode {
  const button = source === 'note' || source === 'key'
  if (target === 'action') return 'trigger'
  if (target === 'switch') return 'toggle'
  if (target === 'choice') return button ? 'cycle' : 'continuous'
  return button ? 'gate' : 'continuous'
}

export function newMapping(id: string, source: MapSource, target: string, kind: TargetKind): Mapping {
  const mode = defaultMode(source.kind, kind)
  const takeOver = kind === 'range' && mode === 'continuous' ? 'pickup' : 'none'
  return { id, source, target, min: 0, max: 1, curve: 'linear', invert: false, mode, takeOver }
}

const low = ({ min, max }: Mapping) => Math.min(min, max)
const high = ({ min, max }: Mapping) => Math.max(min, max)

/** Value and hardware stay apart until the hardware has come past the value. */
function pickUp(mapping: Mapping, hold: Hold, at: number, now: number): number | null {
  const next = shaped(mapping, at)
  const held = hold.value !== null && Math.abs(hold.value - now) <= MOVED
  if (held || Math.abs(next - now) <= NEAR) return next
  if (hold.at === null) return null
  const before = shaped(mapping, hold.at)
  return (before - now) * (next - now) <= 0 ? next : null
}

/** Value and hardware move together, at speeds that let them reach the ends of the range together. */
function scale(mapping: Mapping, hold: Hold, at: number, now: number): number | null {
  if (hold.at === null) return null
  const [before, next] = [shaped(mapping, hold.at), shaped(mapping, at)]
  if (next === before) return null
  const end = next > before ? high(mapping) : low(mapping)
  const room = end - before
  const part = room === 0 ? 1 : (next - before) / room
  return clamp(now + (end - now) * part, Math.min(now, low(mapping)), Math.max(now, high(mapping)))
}

function continuous(mapping: Mapping, hold: Hold, at: number, now: number | null): number | null {
  if (now === null || mapping.takeOver === 'none') return shaped(mapping, at)
  return mapping.takeOver === 'pickup' ? pickUp(mapping, hold, at, now) : scale(mapping, hold, at, now)
}

/** The next of `steps` equally spaced values, and after the last the first. */
function cycled(mapping: Mapping, steps: number, now: number | null): number {
  const span = mapping.max - mapping.min
  const last = Math.max(1, steps - 1)
  // A range of next to nothing can be overflown by what lies outside of it.
  const at = now === null ? Number.NaN : Math.round(((now - mapping.min) / span) * last)
  const index = Number.isFinite(at) ? at : -1
  return mapping.min + span * (((index + 1) % (last + 1)) / last)
}

/**
 * What a movement does. `now` is the target's value, null when it has none; `steps` how many values a cycle has.
 */
export function moved(mapping: Mapping, hold: Hold, movement: Movement, now: number | null, steps: number): Outcome {
  if (movement.kind === 'steps') return stepped(mapping, hold, movement.by, now, steps)
  const { at } = movement
  const was = hold.at ?? 0
  const [down, up] = [at >= PRESSED && was < PRESSED, at < PRESSED && was >= PRESSED]
  const stays: Outcome = { hold: { at, value: hold.value }, value: null, press: false }
  const set = (value: number): Outcome => ({ hold: { at, value }, value, press: false })
  switch (mapping.mode) {
    case 'continuous': {
      const value = continuous(mapping, hold, at, now)
      return value === null ? { ...stays, hold: { at, value: null } } : set(value)
    }
    case 'trigger':
      return { ...stays, press: down }
    case 'gate':
      if (!down && !up) return stays
      return { ...set(shaped(mapping, down ? 1 : 0)), press: true }
    case 'toggle': {
      if (!down) return stays
      const [off, on] = [shaped(mapping, 0), shaped(mapping, 1)]
      return set(Math.abs((now ?? off) - on) < Math.abs((now ?? off) - off) ? off : on)
    }
    case 'cycle':
      return down ? set(cycled(mapping, steps, now)) : stays
  }
}

/** An endless encoder has no position, so nothing is to be picked up. */
function stepped(mapping: Mapping, hold: Hold, by: number, now: number | null, steps: number): Outcome {
  const nothing: Outcome = { hold, value: null, press: false }
  const direction = mapping.invert ? -by : by
  if (direction === 0) return nothing
  if (mapping.mode === 'trigger') return { ...nothing, press: direction > 0 }
  if (mapping.mode === 'cycle') return { ...nothing, value: cycled(mapping, steps, now) }
  const span = high(mapping) - low(mapping)
  const value = clamp((now ?? low(mapping)) + direction * STEP * span, low(mapping), high(mapping))
  return { ...nothing, value: value === now ? null : value }
}

/** Where the hardware stands while the value is elsewhere and waits for it; null when there is nothing to show. */
export function ghost(mapping: Mapping, { at, value }: Hold): number | null {
  const waits = mapping.mode === 'continuous' && mapping.takeOver === 'pickup' && at !== null && value === null
  return waits ? shaped(mapping, at) : null
}

/** Whether a control is the one of a mapping. */
export function sameControl(a: MapSource, b: MapSource): boolean {
  if (a.kind === 'key' || b.kind === 'key') return a.kind === b.kind && a.chord === b.chord
  const family = ({ kind }: MapSource) => (kind === 'note' || kind === 'bend' ? kind : 'cc')
  return (
    family(a) === family(b) &&
    a.channel === b.channel &&
    (a.kind === 'bend' || a.number === b.number) &&
    (a.device === null || b.device === null || a.device === b.device)
  )
}
