import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { PipelineStatus } from '../api/types'
import { ensurePipeline } from './loading'

const plan = { pipelineId: 'small', loadParams: {}, mode: 'text' } as const

/** A server that needs `ms` for its load, asked when. */
function server(ms: number) {
  const begun = Date.now()
  const asked: number[] = []
  let wanted = false
  return {
    asked,
    async load() {
      wanted = true
    },
    async status(): Promise<PipelineStatus> {
      asked.push(Date.now() - begun)
      if (!wanted) return { status: 'not_loaded' }
      return { status: Date.now() - begun < ms ? 'loading' : 'loaded', pipeline_id: 'small' }
    },
    async models() {
      return { downloaded: true }
    },
  }
}

async function wait(ms: number) {
  const api = server(ms)
  const done = ensurePipeline(api, plan, new AbortController().signal, { loading() {}, stage() {} })
  await vi.runAllTimersAsync()
  await done
  return api.asked
}

describe('waiting for a load', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('is short when there is little to wait for', async () => {
    expect((await wait(30)).at(-1)).toBeLessThanOrEqual(80)
  })

  it('asks twice a second when it takes long', async () => {
    const asked = await wait(10_000)
    expect(asked.length).toBeLessThan(27)
    expect(asked.at(-1)).toBeLessThanOrEqual(10_500)
  })
})
