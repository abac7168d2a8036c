import { z } from '../api/zod'
import type { ProjectDoc } from './model'

/** Musical time in the document: the beat, what waits for it, and what moves with it. Pure. */

export const MIN_BPM = 20
export const MAX_BPM = 300
export const MAX_BEATS_PER_BAR = 16
export const MAX_COUNT_IN = 2
export const MAX_LOOKAHEAD_MS = 5000

/** Where changes may land. */
export const gridSchema = z.enum(['none', 'beat', 'bar', '2_bar', '4_bar'])
export type Grid = z.infer<typeof gridSchema>
export const GRIDS: readonly Grid[] = gridSchema.options

export const tempoSchema = z.object({
  on: z.boolean(),
  /** Of the page's own beat; behind a MIDI clock that which was last heard. */
  bpm: z.number().check(z.gte(MIN_BPM), z.lte(MAX_BPM)),
  beatsPerBar: z.int().check(z.gte(1), z.lte(MAX_BEATS_PER_BAR)),
  source: z.enum(['page', 'midi']),
  /** Where takes land. */
  quantize: gridSchema,
  /** Takes are made so much before their beat, because the picture takes its time. */
  lookaheadMs: z._default(z.number().check(z.gte(0), z.lte(MAX_LOOKAHEAD_MS)), 0),
  /** Bars that are counted before the clock of the takes starts. */
  countIn: z.int().check(z.gte(0), z.lte(MAX_COUNT_IN)),
  /** How often the pipeline's memory is emptied. */
  reset: gridSchema,
  /** Where on the timeline a bar begins: more than a bar before zero and not after it. */
  originMs: z.number(),
})
export type TempoSettings = z.infer<typeof tempoSchema>
export const USUAL_TEMPO: TempoSettings = {
  on: false,
  bpm: 120,
  beatsPerBar: 4,
  source: 'page',
  quantize: 'none',
  lookaheadMs: 0,
  countIn: 0,
  reset: 'none',
  originMs: 0,
}

export const shapeSchema = z.enum(['sine', 'cosine', 'triangle', 'saw', 'square', 'exp_decay'])
export type Shape = z.infer<typeof shapeSchema>
export const SHAPES: readonly Shape[] = shapeSchema.options

export const rateSchema = z.enum(['half_beat', 'beat', '2_beat', 'bar', '2_bar', '4_bar'])
export type Rate = z.infer<typeof rateSchema>
export const RATES: readonly Rate[] = rateSchema.options

/** A parameter that swings around the value it is set to. */
export const modulationSchema = z.object({
  on: z.boolean(),
  shape: shapeSchema,
  rate: rateSchema,
  /** How far it swings to either side, in units of the parameter. */
  depth: z.number().check(z.gte(0), z.lte(1)),
  /** Where the swing is cut off; null at the parameter's own bounds. */
  min: z.nullable(z.number()),
  max: z.nullable(z.number()),
})
export type Modulation = z.infer<typeof modulationSchema>
export const USUAL_MODULATION: Modulation = {
  on: true,
  shape: 'sine',
  rate: 'beat',
  depth: 0.3,
  min: null,
  max: null,
}

/** By node, which for a pipeline itself is its id, and by parameter. */
export const modulationsSchema = z.record(z.string(), z.record(z.string(), modulationSchema))
export type Modulations = z.infer<typeof modulationsSchema>

type Change = (doc: ProjectDoc) => ProjectDoc

export const setTempo =
  (change: Partial<TempoSettings>): Change =>
  (doc) => ({ ...doc, tempo: { ...doc.tempo, ...change } })

export const modulationOf = (
  { modulations }: Pick<ProjectDoc, 'modulations'>,
  node: string,
  key: string,
): Modulation | null => modulations[node]?.[key] ?? null

/** Begins or changes how a parameter swings; null ends it. */
export const setModulation =
  (node: string, key: string, change: Partial<Modulation> | null): Change =>
  (doc) => {
    const { [key]: old, ...others } = doc.modulations[node] ?? {}
    const own = change === null ? others : { ...others, [key]: { ...USUAL_MODULATION, ...old, ...change } }
    const { [node]: _, ...rest } = doc.modulations
    return { ...doc, modulations: Object.keys(own).length > 0 ? { ...rest, [node]: own } : rest }
  }

/** Stops everything that swings, and keeps how. */
export const stopModulations: Change = (doc) => ({
  ...doc,
  modulations: Object.fromEntries(
    Object.entries(doc.modulations).map(([node, own]) => [
      node,
      Object.fromEntries(Object.entries(own).map(([key, modulation]) => [key, { ...modulation, on: false }])),
    ]),
  ),
})

export function gridBeats(grid: Grid, beatsPerBar: number): number | null {
  switch (grid) {
    case 'none':
      return null
    case 'beat':
      return 1
    case 'bar':
      return beatsPerBar
    case '2_bar':
      return 2 * beatsPerBar
    case '4_bar':
      return 4 * beatsPerBar
  }
}

export const beatMs = (bpm: number) => 60_000 / bpm

/** The bar and the beat in it, both from 1, of a number of beats since the first bar. */
export function barAndBeat(beats: number, beatsPerBar: number): { bar: number; beat: number } {
  // A beat that rounding puts a hair too early has come.
  const whole = Math.floor(beats + 1e-6)
  const bar = Math.floor(whole / beatsPerBar)
  return { bar: bar + 1, beat: whole - bar * beatsPerBar + 1 }
}

/** Beats since the first bar at a time of the timeline. */
export function beatsAt(ms: number, { bpm, originMs }: Pick<TempoSettings, 'bpm' | 'originMs'>): number {
  return (ms - originMs) / beatMs(bpm)
}

/** Where the first bar begins if the timeline is at `ms` while the music is at `position` beats. */
export function originFor(ms: number, position: number, { bpm, beatsPerBar }: TempoSettings): number {
  const bar = beatMs(bpm) * beatsPerBar
  const start = (ms - position * beatMs(bpm)) % bar
  // A rounding error before zero is no bar of its own.
  return start > 1e-6 ? start - bar : start
}
