import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ApiError } from '../api/http'
import { type Render, renderSchema } from '../api/renders'
import { scoreSchema } from '../api/scores'
import type { Params, PipelineStatus } from '../api/types'
import { type RenderOutcome, Rerender, type RerenderApi } from './rerender'
import { inexact, type Show, Shows } from './shows'

const FRAMES = 30
const FILM = { name: 'render-1', path: '/data/assets/recordings/render-1.mp4', type: 'video', folder: 'recordings' }

function showOf(more: Params = {}): Show {
  const text = JSON.stringify({
    format: 'scope-score',
    format_version: '1.0',
    pipeline_id: 'card',
    mode: 'text',
    load: { width: 256 },
    frames: FRAMES,
    exact: true,
    changes: [{ frame: 0, parameters: { seed: 1 } }],
    ...more,
  })
  return { id: 's', origin: 'ended', name: '', at: 0, score: scoreSchema.parse(JSON.parse(text)), text }
}

function renderOf(id: string, frames: number, state: Render['state'] = 'rendering', more: Params = {}): Render {
  const asset = state === 'done' ? FILM : null
  const known = { id, pipeline_id: 'card', state, frames, total_frames: FRAMES, exact: true, asset, error: null }
  return renderSchema.parse({ ...known, ...more })
}

class FakeServer implements RerenderApi {
  known: Render[] = []
  onAir: string[] = []
  loaded: PipelineStatus = { status: 'loaded', pipeline_id: 'card', load_params: { width: 256 } }
  said: string[] = []
  deaf = false
  onRender: (render: Render) => void = () => undefined

  /** One has come to its end. */
  end(render: Render) {
    this.known = [render, ...this.known.filter(({ id }) => id !== render.id)]
    again.heard(render)
  }
  async renders() {
    if (this.deaf) throw new ApiError('The server does not answer', 0, 'server_unreachable')
    return structuredClone(this.known)
  }
  async render(score: string, clip: string | null) {
    this.said.push(`render ${score}${clip ? ` over ${clip}` : ''}`)
    const begun = renderOf(`r${this.known.length}`, 0)
    this.known.unshift(begun)
    this.onRender(begun)
    return begun
  }
  async endRender(id: string) {
    this.said.push(`end ${id}`)
  }
  async sessions() {
    return this.onAir
  }
  async status() {
    return this.loaded
  }
  async load(requests: readonly { pipelineId: string; loadParams: Params }[]) {
    this.said.push('load')
    const [first] = requests
    this.loaded = { status: 'loaded', pipeline_id: first?.pipelineId ?? '', load_params: first?.loadParams ?? {} }
  }
  async hasModels() {
    return true
  }
}

let server: FakeServer
let clock: number
let again: Rerender
let told: RenderOutcome[]

beforeEach(() => {
  vi.useFakeTimers()
  server = new FakeServer()
  clock = 0
  again = new Rerender(server, () => clock)
  told = []
  again.onOutcome = (outcome) => told.push(outcome)
})
afterEach(() => vi.useRealTimers())

const now = () => again.store.getState()
const codeOf = (outcome: RenderOutcome | null | undefined) =>
  outcome?.kind === 'failed' ? outcome.error.code : outcome?.kind
const code = () => codeOf(now().outcome)

describe('rendering a show again', () => {
  it('passes its score on letter by letter, follows it and has its film', async () => {
    const show = showOf()
    const text = show.text.replace('"seed":1', '"seed":12345678901234567890, "x": 1.0')
    await again.render({ ...show, text })
    expect(server.said).toEqual([`render ${text}`])
    again.heard(renderOf('r0', 12))
    expect([again.busy, now().render?.frames]).toEqual([true, 12])
    again.heard(renderOf('r0', FRAMES, 'done'))
    expect(again.busy).toBe(false)
    expect(now().outcome).toMatchObject({ kind: 'done', film: { path: FILM.path }, render: { exact: true } })
    expect(told.map(codeOf)).toEqual(['done'])
  })

  it('is not confused by what comes late or twice', async () => {
    server.onRender = () => again.heard(renderOf('r0', FRAMES, 'done'))
    await again.render(showOf())
    again.heard(renderOf('r0', 20))
    again.heard(renderOf('r0', FRAMES, 'done'))
    expect([again.busy, told.map(codeOf)]).toEqual([false, ['done']])
    again.heard(renderOf('next', 20))
    again.heard(renderOf('next', 10))
    again.heard(renderOf('older', FRAMES, 'done'))
    expect([now().render?.id, now().render?.frames, now().outcome]).toEqual(['next', 20, null])
  })

  it('says how long it takes, once it has a pace', async () => {
    await again.render(showOf())
    expect(now().leftMs).toBeNull()
    clock = 2000
    again.heard(renderOf('r0', 10))
    expect(now().leftMs).toBe(4000)
  })

  it('loads what it needs when nobody uses what is loaded', async () => {
    server.loaded = { status: 'loaded', pipeline_id: 'card', load_params: { width: 512 } }
    await again.render(showOf())
    expect(server.said[0]).toBe('load')
    expect(server.loaded.load_params).toEqual({ width: 256 })
    expect(now().render?.id).toBe('r0')
  })

  it('shares what is loaded with a session that is on air, and takes no model away from it', async () => {
    server.onAir = ['somebody']
    await again.render(showOf())
    expect(server.said).toEqual([`render ${showOf().text}`])
    server.end(renderOf('r0', FRAMES, 'done'))
    server.loaded = { status: 'loaded', pipeline_id: 'other', load_params: {} }
    await again.render(showOf())
    expect([code(), server.said.length]).toEqual(['other_model', 1])
  })

  it('takes no model away from another rendering, and shows that one', async () => {
    server.known = [renderOf('theirs', 5)]
    server.loaded = { status: 'loaded', pipeline_id: 'other', load_params: {} }
    await again.render(showOf())
    expect([code(), server.said, now().render?.id]).toEqual(['render_running', [], 'theirs'])
  })

  it('says why there is no film, in the words of the server', async () => {
    await again.render(showOf())
    server.end(renderOf('r0', 7, 'failed', { error: { code: 'recording_failed', message: 'the disk is full' } }))
    expect(now().outcome).toEqual({ kind: 'failed', error: { code: 'recording_failed', message: 'the disk is full' } })
    server.render = () => Promise.reject(new ApiError('change 3 of the score is wrong', 400, 'invalid_score'))
    await again.render(showOf())
    expect([code(), again.busy]).toEqual(['invalid_score', false])
  })

  it('asks for a clip where a video was the input, and then begins with it', async () => {
    const show = showOf({ mode: 'video', exact: false })
    await again.render(show)
    expect([code(), server.said]).toEqual(['score_needs_clip', []])
    await again.render(show, '/assets/clip.mp4')
    expect(server.said).toEqual([`render ${show.text} over /assets/clip.mp4`])
  })

  it('needs to know how long the show is', async () => {
    await again.render(showOf({ frames: 0 }))
    expect(code()).toBe('score_without_length')
  })
})

describe('cancelling', () => {
  it('ends it on the server and waits until it has ended', async () => {
    await again.render(showOf())
    again.cancel()
    again.cancel()
    expect([server.said.slice(1), now().ending, again.busy]).toEqual([['end r0'], true, true])
    again.heard(renderOf('r0', 12, 'cancelled'))
    expect([code(), now().ending, again.busy]).toEqual(['cancelled', false, false])
  })

  it('begins nothing when it comes before the model is there', async () => {
    server.loaded = { status: 'not_loaded' }
    server.load = async () => again.cancel()
    await again.render(showOf())
    expect([code(), server.said]).toEqual(['cancelled', []])
  })

  it('ends what has begun in the meantime', async () => {
    server.onRender = () => again.cancel()
    await again.render(showOf())
    expect(server.said.slice(1)).toEqual(['end r0'])
  })

  it('can be tried again when the server has not heard it', async () => {
    await again.render(showOf())
    const end = server.endRender
    server.endRender = () => Promise.reject(new ApiError('The server does not answer', 0, 'server_unreachable'))
    again.cancel()
    await vi.advanceTimersByTimeAsync(0)
    expect(now().ending).toBe(false)
    server.endRender = end
    again.cancel()
    expect(server.said.at(-1)).toBe('end r0')
  })
})

describe('a page that comes later', () => {
  it('finds one that goes on', async () => {
    server.known = [renderOf('r1', 3), renderOf('r0', FRAMES, 'done')]
    await again.refresh()
    expect([now().render?.id, now().outcome]).toEqual(['r1', null])
    again.heard(renderOf('r1', FRAMES, 'done'))
    expect(told.map(codeOf)).toEqual(['done'])
  })

  it('shows the last film without making news of it, as long as it is there', async () => {
    server.known = [renderOf('r0', FRAMES, 'done')]
    await again.refresh()
    expect([code(), told]).toEqual(['done', []])
    server.known = [renderOf('r0', FRAMES, 'done', { asset: null })]
    await again.refresh()
    expect(now().outcome).toBeNull()
  })

  it('says nothing of one that was cancelled, but why one has failed', async () => {
    server.known = [renderOf('r0', 3, 'cancelled')]
    await again.refresh()
    expect(now().outcome).toBeNull()
    server.known.unshift(renderOf('r1', 3, 'failed', { error: { code: 'pipeline_unloaded', message: '' } }))
    await again.refresh()
    expect(code()).toBe('pipeline_unloaded')
  })

  it('lets the server forget what has been read, and nothing that goes on', async () => {
    server.known = [renderOf('r1', FRAMES, 'done'), renderOf('r0', 3, 'cancelled')]
    await again.refresh()
    server.known.unshift(renderOf('r2', 3))
    await again.forget()
    expect([now().outcome, server.said]).toEqual([null, ['end r1', 'end r0']])
  })
})

describe('what is not heard', () => {
  it('is asked for', async () => {
    await again.render(showOf())
    server.known = [renderOf('r0', 8)]
    await vi.advanceTimersByTimeAsync(6000)
    expect(now().render?.frames).toBe(8)
    server.deaf = true
    await vi.advanceTimersByTimeAsync(30_000)
    expect(again.busy).toBe(true)
    server.deaf = false
    server.known = [renderOf('r0', FRAMES, 'done')]
    await vi.advanceTimersByTimeAsync(6000)
    expect(code()).toBe('done')
  })

  it('has gone with the server that knew of it', async () => {
    await again.render(showOf())
    server.known = []
    await again.refresh()
    expect([code(), again.busy]).toEqual(['render_gone', false])
  })

  it('is not taken to have gone by an answer from before it began', async () => {
    const asked = again.refresh()
    await again.render(showOf())
    await asked
    expect(now().render?.id).toBe('r0')
  })
})

describe('whether it is exact', () => {
  it('is what the server says, unless moments are seconds', () => {
    expect(inexact(showOf())).toBeNull()
    expect(inexact(showOf({ exact: false, why_not: 'a chunk failed' }))).toEqual({ words: 'a chunk failed' })
    expect(inexact(showOf({ exact: false }))).toEqual({ code: 'unknown' })
    expect(inexact(showOf({ changes: [{ seconds: 1 }] }))).toEqual({ code: 'seconds' })
  })
})

describe('the list of shows', () => {
  it('has one for what is on air, which stays when it ends', async () => {
    let frames = 10
    const shows = new Shows(async () => showOf({ frames }).text)
    await shows.note('a', 'air')
    frames = 20
    await shows.note('a', 'air')
    expect(shows.store.getState().items.map(({ score }) => score.frames)).toEqual([20])
    frames = 25
    await shows.note('a', 'ended')
    await shows.note('b', 'air')
    expect(shows.store.getState().items.map(({ origin }) => origin)).toEqual(['air', 'ended'])
    shows.ended()
    expect(shows.store.getState().items.map(({ origin }) => origin)).toEqual(['ended', 'ended'])
  })

  it('has none without a frame', async () => {
    const shows = new Shows(async () => showOf({ frames: 0 }).text)
    expect(await shows.note('a', 'ended')).toBeNull()
    expect(shows.store.getState().items).toEqual([])
  })
})
