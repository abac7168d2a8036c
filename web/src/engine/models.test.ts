import { beforeEach, describe, expect, it } from 'vitest'
import type { ModelNeed } from '../api/client'
import { ApiError } from '../api/http'
import { type Download, type Model, modelSchema, type Verification } from '../api/types'
import { filesOf, Models, together } from './models'

const need: ModelNeed = { pipelineId: 'family', vaeType: 'wan', vace: false, modelSize: 'small' }

const file = (path: string, size: number, more: object = {}) => ({ path, size, state: 'missing', bytes: 0, ...more })
const family = (files: object[], progress: object | null = null): Model =>
  modelSchema.parse({ pipeline_id: 'family', name: 'Family', files, progress, sizes_are_exact: true })

const FILES = [
  file('model', 100),
  file('wan', 10, { when: { vae_type: 'wan' } }),
  file('tae', 1, { when: { vae_type: 'tae' } }),
  file('vace', 50, { when: { vace: true } }),
  file('notes', 5, { role: 'companion' }),
]
const THERE = FILES.map((entry) => ({ ...entry, state: 'complete', bytes: (entry as { size: number }).size }))
const going = (bytes: number): Download => ({
  is_downloading: true,
  state: 'downloading',
  percentage: bytes,
  downloaded_bytes: bytes,
  total_bytes: 110,
})

describe('the files that settings need', () => {
  it('are those of its autoencoder, and of VACE where it is used', () => {
    expect(filesOf(family(FILES), need)).toEqual({ state: 'missing', bytes: 0, total: 110, missing: 110, exact: true })
    expect(filesOf(family(FILES), { ...need, vaeType: 'tae', vace: true }).missing).toBe(151)
  })

  it('are those of its size', () => {
    const sizes = family([
      file('small', 4, { when: { model_size: 'small' } }),
      file('large', 21, { when: { model_size: 'large' } }),
    ])
    expect(filesOf(sizes, need).missing).toBe(4)
    expect(filesOf(sizes, { ...need, modelSize: 'large' }).missing).toBe(21)
  })

  it('are complete, partly there or damaged, whatever the others are', () => {
    const [model, wan] = THERE
    const state = (...files: object[]) => filesOf(family(files), need)
    expect(state(model as object, wan as object, ...FILES.slice(2)).state).toBe('complete')
    expect(state(model as object, FILES[1] as object)).toMatchObject({ state: 'partial', bytes: 100, missing: 10 })
    const begun = { ...(FILES[0] as object), state: 'partial', bytes: 30 }
    expect(state(begun, FILES[1] as object)).toMatchObject({ state: 'partial', missing: 80 })
    const damaged = { ...(model as object), state: 'damaged', bytes: 0 }
    expect(state(damaged, wan as object)).toMatchObject({ state: 'damaged', missing: 100 })
  })
})

describe('several downloads', () => {
  it('are shown as one: bytes and rates added, the longest wait', () => {
    const a = { ...going(20), bytes_per_second: 5, eta_seconds: 18 }
    const b = { ...going(30), bytes_per_second: 1, eta_seconds: 80 }
    expect(together([a, b])).toMatchObject({
      is_downloading: true,
      downloaded_bytes: 50,
      total_bytes: 220,
      bytes_per_second: 6,
      eta_seconds: 80,
    })
    expect(together([a, { ...b, eta_seconds: null }]).eta_seconds).toBeNull()
  })
})

describe('the mirror of the server', () => {
  let server: {
    files: object[]
    progress: object | null
    asked: string[]
    refuses: ApiError | null
    found: Verification[]
  }
  let memory: Map<string, string>
  let ended: string[]

  const api = {
    async models() {
      return { models: [family(server.files, server.progress)], room_bytes: 1000 }
    },
    async downloadModels(wanted: ModelNeed) {
      server.asked.push(`download ${wanted.pipelineId}`)
      if (server.refuses) throw server.refuses
    },
    async cancelDownload(id: string) {
      server.asked.push(`cancel ${id}`)
      server.progress = null
    },
    async verifyModels() {
      return server.found
    },
    async removeModels(id: string) {
      server.asked.push(`remove ${id}`)
      if (server.refuses) throw server.refuses
      server.files = FILES
    },
  }
  const open = () => {
    const models = new Models(api, {
      getItem: (key) => memory.get(key) ?? null,
      setItem: (key, value) => void memory.set(key, value),
      removeItem: (key) => void memory.delete(key),
    })
    models.onEnded = (id) => ended.push(id)
    return models
  }
  const event = (state: string, progress: Download | null) => ({ pipeline_id: 'family', state, progress })

  beforeEach(() => {
    server = { files: FILES, progress: null, asked: [], refuses: null, found: [] }
    memory = new Map()
    ended = []
  })

  it('makes room, and says why it cannot', async () => {
    server.files = THERE
    const models = open()
    await models.refresh()
    server.refuses = new ApiError('family is loaded; unload it first', 409, 'pipeline_loaded')
    await models.remove('family')
    expect(models.store.getState().refused.family).toMatch(/unload it first/)
    server.refuses = null
    await models.remove('family')
    expect(models.store.getState().refused.family).toBeUndefined()
    expect(models.store.getState().models.family?.files).toMatchObject(FILES)
    expect(ended).toEqual([])
  })

  it('follows a download and tells of its end once', async () => {
    const models = open()
    await models.refresh()
    server.progress = going(0)
    await models.download([need], 'family')
    expect(models.store.getState().startAfter).toBe('family')
    await models.heard(event('downloading', going(40)))
    expect(models.store.getState().models.family?.progress?.downloaded_bytes).toBe(40)
    expect(ended).toEqual([])
    server.progress = null
    server.files = THERE
    await models.heard(event('done', null))
    await models.heard(event('done', null))
    expect(ended).toEqual(['family'])
    expect(filesOf(models.store.getState().models.family as Model, need).state).toBe('complete')
  })

  it('tells of the end of one that was over before it could be seen', async () => {
    const models = open()
    server.files = THERE
    await models.download([need])
    expect(ended).toEqual(['family'])
  })

  it('is no news after a reload of the page, and the wish to start is kept', async () => {
    server.progress = going(10)
    const before = open()
    await before.download([need], 'family')
    const reloaded = open()
    await reloaded.refresh()
    expect(reloaded.store.getState()).toMatchObject({ startAfter: 'family' })
    expect(ended).toEqual([])
    server.progress = null
    server.files = THERE
    await reloaded.heard(event('done', null))
    expect(ended).toEqual(['family'])
  })

  it('looks after a reload whether the wish came true meanwhile', async () => {
    server.progress = going(10)
    await open().download([need], 'family')
    server.progress = null
    server.files = THERE
    await open().refresh()
    expect(ended).toEqual(['family'])
  })

  it('ends a download and the wish with it', async () => {
    const models = open()
    server.progress = going(10)
    await models.download([need], 'family')
    await models.cancel(['family'])
    expect(server.asked.at(-1)).toBe('cancel family')
    expect(models.store.getState().startAfter).toBeNull()
    expect(memory.size).toBe(0)
  })

  it('keeps the server’s reason for a refusal, but joins a download that runs already', async () => {
    const models = open()
    server.refuses = new ApiError('the disk is on fire', 500, 'internal')
    await models.download([need])
    expect(models.store.getState().refused).toEqual({ family: 'the disk is on fire' })
    server.refuses = new ApiError('running', 409, 'download_running')
    await models.download([need])
    expect(models.store.getState().refused).toEqual({})
  })

  it('keeps what a verification found', async () => {
    const models = open()
    server.found = [{ path: 'model', outcome: 'damaged', problem: 'a wrong checksum' }]
    await models.verify('family')
    expect(models.store.getState().checks.family).toEqual({ running: false, found: server.found })
  })
})
