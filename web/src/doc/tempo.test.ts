import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { docSchema, newDoc } from './model'
import { barAndBeat, beatMs, beatsAt, originFor, setModulation, USUAL_TEMPO } from './tempo'

it('reads documents from before there was a tempo', () => {
  const { tempo: _, modulations: __, ...old } = newDoc()
  expect(docSchema.parse(old)).toMatchObject({ tempo: USUAL_TEMPO, modulations: {} })
})

it('counts bars and beats from one', () => {
  expect(barAndBeat(0, 4)).toEqual({ bar: 1, beat: 1 })
  expect(barAndBeat(3.99, 4)).toEqual({ bar: 1, beat: 4 })
  expect(barAndBeat(7, 3)).toEqual({ bar: 3, beat: 2 })
  expect(barAndBeat(-0.5, 4)).toEqual({ bar: 0, beat: 4 })
})

it('puts the bars of the timeline where those of the music are, the first at its beginning or before', () => {
  const tempos = fc.record({
    bpm: fc.double({ min: 20, max: 300, noNaN: true }),
    beatsPerBar: fc.integer({ min: 1, max: 16 }),
  })
  const ms = fc.double({ min: 0, max: 3_600_000, noNaN: true })
  const positions = fc.double({ min: 0, max: 20_000, noNaN: true })
  fc.assert(
    fc.property(tempos, ms, positions, (own, at, position) => {
      const tempo = { ...USUAL_TEMPO, ...own }
      const originMs = originFor(at, position, tempo)
      const bar = beatMs(tempo.bpm) * tempo.beatsPerBar
      expect(originMs).toBeGreaterThan(-bar - 1e-6)
      expect(originMs).toBeLessThanOrEqual(1e-6)
      const bars = (beatsAt(at, { ...tempo, originMs }) - position) / tempo.beatsPerBar
      expect(Math.abs(bars - Math.round(bars))).toBeLessThan(1e-4)
    }),
  )
})

it('keeps no trace of a modulation that was removed', () => {
  const doc = setModulation('gen', 'noise', { depth: 0.5 })(newDoc())
  expect(doc.modulations.gen?.noise).toMatchObject({ on: true, shape: 'sine', depth: 0.5 })
  expect(setModulation('gen', 'noise', null)(doc).modulations).toEqual({})
})
