import { describe, expect, it } from 'vitest'
import { HealthWatch, judge } from './health'
import { NO_STATS } from './meters'

const readings = (more: { fps?: number; net?: Partial<typeof NO_STATS>; server?: Record<string, unknown> }) => ({
  fps: more.fps ?? 15,
  net: { ...NO_STATS, ...more.net },
  server: more.server ?? null,
})

describe('judge', () => {
  it('finds nothing wrong with what is not known', () => {
    expect(judge(readings({}))).toEqual({ level: 'ok', cause: null })
  })
  it('names what holds the picture back', () => {
    expect(judge(readings({ net: { lossPercent: 3 } }))).toEqual({ level: 'warn', cause: 'loss' })
    expect(judge(readings({ net: { rttMs: 500 } }))).toEqual({ level: 'bad', cause: 'distance' })
    expect(judge(readings({ fps: 3, server: { fps_generated: 3, fps_out: 3 } }))).toEqual({
      level: 'warn',
      cause: 'compute',
    })
    expect(judge(readings({ fps: 4, server: { fps_generated: 15, fps_out: 15 } }))).toEqual({
      level: 'warn',
      cause: 'display',
    })
    expect(judge(readings({ server: { vram_used_mb: 97, vram_total_mb: 100 } })).cause).toBe('memory')
    expect(judge(readings({ server: { effort: { name: 'Low', level: 1, levels: 3 } } })).cause).toBe('effort')
  })
  it('says the worst, and a frozen picture before all', () => {
    expect(judge(readings({ net: { lossPercent: 9, rttMs: 200 } })).cause).toBe('loss')
    expect(judge(readings({ fps: 0, net: { rttMs: 200 } }))).toEqual({ level: 'bad', cause: 'frozen' })
  })
})

describe('HealthWatch', () => {
  it('says only what lasts, but a frozen picture at once', () => {
    const watch = new HealthWatch()
    watch.note(readings({ net: { lossPercent: 3 } }), 0)
    watch.note(readings({}), 500)
    watch.note(readings({ net: { lossPercent: 3 } }), 1000)
    watch.note(readings({ net: { lossPercent: 3 } }), 2000)
    expect(watch.store.getState().level).toBe('ok')
    watch.note(readings({ net: { lossPercent: 3 } }), 3000)
    expect(watch.store.getState()).toEqual({ level: 'warn', cause: 'loss' })
    watch.note(readings({ fps: 0 }), 3500)
    expect(watch.store.getState().cause).toBe('frozen')
  })
})
