import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { PipelineStatus } from '../api/types'
import { PLAIN_CHAIN } from '../doc/model'
import { differs, ensurePipeline, type LoadPlan, matches, type NodePlan } from './loading'

const node = (nodeId: string, loadParams = {}, pipelineId = nodeId): NodePlan => ({
  nodeId,
  pipelineId,
  loadParams,
  need: null,
})
const planOf = (main: string, nodes: NodePlan[]): LoadPlan => ({ main, mode: 'video', nodes, chain: PLAIN_CHAIN })
const plan = planOf('small', [node('small')])

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
    async hasModels() {
      return true
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

describe('a chain', () => {
  const edges = node('before:edges', {}, 'edges')
  const chain = planOf('small', [edges, node('small', { width: 64 }), node('after:resize', { width: 8 }, 'resize')])
  const signal = () => new AbortController().signal
  const quiet = { loading() {}, stage() {} }

  it('is loaded with the pipeline first, whatever its place', async () => {
    const loaded: string[] = []
    const api = {
      status: async (): Promise<PipelineStatus> => ({ status: loaded.length > 0 ? 'loaded' : 'not_loaded' }),
      load: async (nodes: readonly { nodeId: string }[]) => void loaded.push(...nodes.map(({ nodeId }) => nodeId)),
      hasModels: async () => true,
    }
    await ensurePipeline(api, chain, signal(), quiet)
    expect(loaded).toEqual(['small', 'before:edges', 'after:resize'])
  })

  it('is not begun when any of its nodes lacks files', async () => {
    const need = { pipelineId: 'edges', vaeType: 'wan', vace: false, modelSize: 'small' }
    const needy = planOf('small', [{ ...edges, need }, node('small')])
    const load = vi.fn()
    const api = {
      status: async (): Promise<PipelineStatus> => ({ status: 'not_loaded' }),
      load,
      hasModels: async () => false,
    }
    await expect(ensurePipeline(api, needy, signal(), quiet)).rejects.toMatchObject({ code: 'models_missing' })
    expect(load).not.toHaveBeenCalled()
  })

  it('is there when every node is, unless one has parameters that the server does not tell', () => {
    const status: PipelineStatus = {
      status: 'loaded',
      pipeline_id: 'small',
      load_params: { width: 64 },
      pipelines: [
        { node_id: 'small', pipeline_id: 'small' },
        { node_id: 'before:edges', pipeline_id: 'edges' },
        { node_id: 'after:resize', pipeline_id: 'resize' },
      ],
    }
    const two = planOf('small', [edges, node('small', { width: 64 })])
    expect(matches(status, two)).toBe(true)
    expect(matches({ ...status, pipelines: [] }, two)).toBe(false)
    expect(matches(status, chain)).toBe(false)
  })

  it('needs a reload for another order and for load parameters of any node', () => {
    const [first, second, third] = chain.nodes as [NodePlan, NodePlan, NodePlan]
    expect(differs(chain, planOf('small', [{ ...first }, { ...second }, { ...third }]))).toBe(false)
    expect(differs(chain, planOf('small', [second, first, third]))).toBe(true)
    expect(differs(chain, planOf('small', [first, second, { ...third, loadParams: { width: 16 } }]))).toBe(true)
  })
})
