import type { Params } from '../api/types'
import type { ProjectDoc } from '../doc/model'
import { type Modulation, modulationOf, type Rate, type Shape } from '../doc/tempo'
import { type Field, wireKey } from '../schema/plan'
import { type ChainNode, sectionsOf } from './chain'

/** Parameters that swing with the beat, as the server swings them. Pure. */

const TAU = 2 * Math.PI
const DECAY = 0.15
/** The longest period, in beats; the server's bars have four. */
const BEATS: Readonly<Record<Rate, number>> = {
  half_beat: 0.5,
  beat: 1,
  '2_beat': 2,
  bar: 4,
  '2_bar': 8,
  '4_bar': 16,
}
/** The server swings by one at most: what reaches much further would hardly move. */
const WIDEST_RANGE = 20

/** The wave at a phase from 0 to 1: from −1 to 1, or a decay from 1 towards 0. */
export function wave(shape: Shape, phase: number): number {
  switch (shape) {
    case 'sine':
      return Math.sin(TAU * phase)
    case 'cosine':
      return Math.cos(TAU * phase)
    case 'triangle':
      return 1 - 4 * Math.abs(phase - 0.5)
    case 'saw':
      return 2 * phase - 1
    case 'square':
      return phase < 0.5 ? 1 : -1
    case 'exp_decay':
      return Math.exp(-phase / DECAY)
  }
}

/** Between what a modulation keeps its parameter. */
export function swingBounds({ min, max }: Modulation, field: Pick<Field, 'min' | 'max'>): [number, number] {
  const low = Math.max(min ?? Number.NEGATIVE_INFINITY, field.min ?? Number.NEGATIVE_INFINITY)
  return [low, Math.max(low, Math.min(max ?? Number.POSITIVE_INFINITY, field.max ?? Number.POSITIVE_INFINITY))]
}

/** The value of a parameter that is set to `base`, at a beat. */
export function swung(
  modulation: Modulation,
  field: Pick<Field, 'min' | 'max'>,
  base: number,
  position: number,
): number {
  const length = BEATS[modulation.rate]
  const phase = (((position / length) % 1) + 1) % 1
  const [low, high] = swingBounds(modulation, field)
  return Math.min(high, Math.max(low, base + modulation.depth * wave(modulation.shape, phase)))
}

/** Whether a parameter can swing: a live number with fractions, and not of a range that swings of one get lost in. */
export function canSwing({ reload, integer, widget, min, max }: Field): boolean {
  if (reload || integer || (widget !== 'slider' && widget !== 'number')) return false
  return min === undefined || max === undefined || max - min <= WIDEST_RANGE
}

export interface Swing {
  node: ChainNode
  field: Field
  modulation: Modulation
}

/** What can swing in a chain and has been told how, whether it does or not. */
export function swingsOf(doc: Pick<ProjectDoc, 'modulations'>, chain: readonly ChainNode[]): Swing[] {
  return chain.flatMap((node) => {
    if (!doc.modulations[node.id]) return []
    const fields = sectionsOf(node).flatMap((section) => section.fields)
    return fields.filter(canSwing).flatMap((field) => {
      const modulation = modulationOf(doc, node.id, field.key)
      return modulation ? [{ node, field, modulation }] : []
    })
  })
}

/** What the server is told: all at once, and nothing while there is no tempo. */
export function wireModulations(doc: Pick<ProjectDoc, 'modulations' | 'tempo'>, chain: readonly ChainNode[]): Params {
  if (!doc.tempo.on) return {}
  const running = swingsOf(doc, chain).filter(({ modulation }) => modulation.on)
  return Object.fromEntries(
    running.map(({ field, modulation }) => {
      const { shape, rate, depth, min, max } = modulation
      const bounds = { ...(min === null ? {} : { min_value: min }), ...(max === null ? {} : { max_value: max }) }
      return [wireKey(field.key), { enabled: true, shape, rate, depth, ...bounds }]
    }),
  )
}

/** The session's own keys for musical time. */
export function tempoParameters(doc: Pick<ProjectDoc, 'modulations' | 'tempo'>, chain: readonly ChainNode[]): Params {
  const { on, reset } = doc.tempo
  const resets = on && chain.some(({ pipeline }) => pipeline.supports_cache_management)
  return { modulations: wireModulations(doc, chain), beat_cache_reset_rate: resets ? reset : 'none' }
}
