import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { LoadRequest } from '../api/client'
import { ApiError } from '../api/http'
import type { Params, PipelineStatus } from '../api/types'
import { PLAIN_CHAIN } from '../doc/model'
import { ParamBus } from './paramBus'
import { Session, type SessionState, STALL_MS } from './session'

class FakeChannel {
  readyState: RTCDataChannelState = 'connecting'
  sent: Params[] = []
  onopen: (() => void) | null = null
  onmessage: ((event: { data: string }) => void) | null = null
  send(text: string) {
    this.sent.push(JSON.parse(text))
  }
}

class FakePeer {
  static all: FakePeer[] = []
  connectionState: RTCPeerConnectionState = 'new'
  localDescription: { type: string; sdp: string } | null = null
  onconnectionstatechange: (() => void) | null = null
  onicecandidate: unknown = null
  ontrack: ((event: unknown) => void) | null = null
  channel = new FakeChannel()
  restarts = 0
  constructor() {
    FakePeer.all.push(this)
  }
  addTransceiver() {
    const sender = { getParameters: () => ({ encodings: [{}] }), setParameters: async () => undefined }
    return { sender, receiver: {}, setCodecPreferences: () => undefined }
  }
  createDataChannel() {
    return this.channel
  }
  async createOffer(options?: { iceRestart?: boolean }) {
    if (options?.iceRestart) this.restarts += 1
    return { type: 'offer', sdp: 'v=0' }
  }
  async setLocalDescription(description: { type: string; sdp: string }) {
    this.localDescription = description
  }
  async setRemoteDescription() {
    if (!autoConnect) return
    this.move('connected')
    this.channel.readyState = 'open'
    this.channel.onopen?.()
    this.ontrack?.({ track: { kind: 'video' }, streams: [{ id: 'remote' }] })
  }
  move(state: RTCPeerConnectionState) {
    this.connectionState = state
    this.onconnectionstatechange?.()
  }
  message(message: Params) {
    this.channel.onmessage?.({ data: JSON.stringify(message) })
  }
  async getStats() {
    return new Map()
  }
  close() {
    this.connectionState = 'closed'
  }
}

let autoConnect: boolean
let server: {
  status: PipelineStatus
  startTime: number
  up: boolean
  loads: Params[]
  offers: Params[]
  ended: string[]
}
let session: Session
let states: SessionState[]
let plan: { loadParams: Params; prompt: string }

function check(): void {
  if (!server.up) throw new ApiError('The server does not answer', 0, 'server_unreachable')
}

const api = {
  async health() {
    check()
    return { server_start_time: server.startTime, version: '1' }
  },
  async status() {
    check()
    return server.status
  },
  async load([request]: readonly LoadRequest[]) {
    check()
    if (!request) throw new Error('nothing to load')
    const { pipelineId, loadParams } = request
    server.loads.push({ pipelineId, loadParams })
    server.status = { status: 'loading', pipeline_id: pipelineId, load_params: loadParams }
    setTimeout(() => {
      server.status = { status: 'loaded', pipeline_id: pipelineId, load_params: { ...loadParams, extra: 1 } }
    }, 1200)
  },
  async hasModels() {
    return true
  },
  async iceServers() {
    return []
  },
  async offer(body: { initialParameters: Params }) {
    check()
    server.offers.push(body.initialParameters)
    return { sdp: 'v=0', type: 'answer' as const, sessionId: `s${server.offers.length}` }
  },
  async restartIce() {
    check()
    return { sdp: 'v=0', type: 'answer' as const, sessionId: 's' }
  },
  async candidates() {},
  async hangUp(id: string) {
    server.ended.push(id)
  },
}

const peer = () => FakePeer.all.at(-1) as FakePeer
const advance = (ms: number) => vi.advanceTimersByTimeAsync(ms)
/** Frames every 100 ms for `ms`. */
async function frames(ms: number) {
  for (let t = 0; t < ms; t += 100) {
    session.noteFrame()
    await advance(100)
  }
}
async function goLive() {
  void session.start()
  await advance(3000)
  await frames(200)
  expect(session.state).toBe('live')
}

beforeEach(() => {
  vi.useFakeTimers()
  FakePeer.all = []
  autoConnect = true
  server = { status: { status: 'not_loaded' }, startTime: 1, up: true, loads: [], offers: [], ended: [] }
  plan = { loadParams: { width: 512 }, prompt: 'a dog' }
  session = new Session({
    api,
    bus: new ParamBus(() => Date.now()),
    createPeer: () => new FakePeer() as unknown as RTCPeerConnection,
    plan: () => ({
      main: 'gen',
      mode: 'video',
      nodes: [{ nodeId: 'gen', pipelineId: 'gen', loadParams: plan.loadParams, need: null }],
      chain: PLAIN_CHAIN,
      initialParameters: { prompts: [{ text: plan.prompt, weight: 100 }] },
      track: null,
    }),
    onMessage: () => undefined,
    now: () => Date.now(),
  })
  states = []
  session.store.subscribe((next, previous) => {
    if (next.state !== previous.state) states.push(next.state)
  })
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

describe('starting', () => {
  it('goes through its states in order with exactly one load', async () => {
    await goLive()
    expect(states).toEqual(['checking', 'loading', 'connecting', 'waiting', 'live'])
    expect(server.loads).toHaveLength(1)
  })
  it('skips the load when the server already has that pipeline with those parameters', async () => {
    server.status = { status: 'loaded', pipeline_id: 'gen', load_params: { width: 512, seed: 3 } }
    await goLive()
    expect(states).toEqual(['checking', 'connecting', 'waiting', 'live'])
    expect(server.loads).toHaveLength(0)
  })
  it('loads again when a parameter differs', async () => {
    server.status = { status: 'loaded', pipeline_id: 'gen', load_params: { width: 576 } }
    await goLive()
    expect(server.loads).toHaveLength(1)
  })
  it('is idempotent', async () => {
    void session.start()
    void session.start()
    await goLive()
    expect(server.loads).toHaveLength(1)
    expect(server.offers).toHaveLength(1)
  })
  it('keeps the server’s reason when loading fails', async () => {
    void session.start()
    await advance(100)
    server.status = { status: 'error', error: 'CUDA out of memory. Tried to allocate 2 GiB' }
    await advance(600)
    expect(session.store.getState()).toMatchObject({ state: 'failed', error: { code: 'out_of_memory' } })
  })
  it('fails with a code when the media path never comes up', async () => {
    autoConnect = false
    void session.start()
    await advance(20_000)
    expect(session.store.getState().error?.code).toBe('ice_failed')
    expect(server.ended).toEqual(['s1'])
  })
  it('fails when connected but no picture arrives, later if the server is at work', async () => {
    void session.start()
    await advance(3000)
    for (let t = 0; t < 30; t++) {
      peer().message({ type: 'metrics' })
      await advance(1000)
    }
    expect(session.state).toBe('waiting')
    await advance(30_000)
    expect(session.store.getState().error?.code).toBe('no_first_frame')
  })
  it.each([
    { frames_in: 0, frames_out: 0 },
    { frames_in: 40, frames_out: 40 },
  ])('does not wait longer when frames are lost on the way: %o', async (counts) => {
    void session.start()
    await advance(3000)
    for (let t = 0; t < 22; t++) {
      peer().message({ type: 'metrics', ...counts })
      await advance(1000)
    }
    expect(session.store.getState().error?.code).toBe('no_first_frame')
  })
  it('can be stopped while loading', async () => {
    void session.start()
    await advance(300)
    await session.stop()
    await advance(5000)
    expect(session.state).toBe('idle')
    expect(server.offers).toHaveLength(0)
  })
})

describe('while live', () => {
  it('pauses and resumes over the data channel, and a held picture is not a stall', async () => {
    await goLive()
    session.pause()
    await advance(STALL_MS * 3)
    expect(session.state).toBe('paused')
    session.resume()
    expect(session.state).toBe('live')
    expect(peer().channel.sent).toEqual([{ paused: true }, { paused: false }])
  })
  it('says stalled within two seconds of the last frame and live again with the next', async () => {
    await goLive()
    await advance(2000)
    expect(session.state).toBe('stalled')
    session.noteFrame()
    expect(session.state).toBe('live')
  })
  it('stops five times in a row and tells the server each time', async () => {
    for (let i = 0; i < 5; i++) {
      await goLive()
      await session.stop()
      expect(session.state).toBe('idle')
    }
    expect(server.ended).toEqual(['s1', 's2', 's3', 's4', 's5'])
    expect(server.loads).toHaveLength(1)
  })
  it('fails with the reason of stream_stopped, and ends quietly without one', async () => {
    await goLive()
    peer().message({ type: 'stream_stopped', error_message: 'CUDA out of memory', error_code: 'out_of_memory' })
    await advance(10)
    expect(session.store.getState()).toMatchObject({ state: 'failed', error: { code: 'out_of_memory' }, stream: null })
    await goLive()
    peer().message({ type: 'stream_stopped' })
    await advance(10)
    expect(session.state).toBe('idle')
  })
  it('restarts with a new plan: one more load, the old session ended first', async () => {
    await goLive()
    plan.loadParams = { width: 576 }
    void session.restart()
    await advance(3000)
    await frames(200)
    expect(session.state).toBe('live')
    expect(server.loads).toHaveLength(2)
    expect(server.ended).toEqual(['s1'])
    expect(session.store.getState().running?.nodes[0]?.loadParams).toEqual({ width: 576 })
  })
})

describe('recovering', () => {
  it('renews the path of the same session when the connection drops', async () => {
    await goLive()
    peer().move('disconnected')
    await advance(1000)
    expect(session.state).toBe('live')
    await advance(700)
    expect(session.state).toBe('reconnecting')
    await frames(500)
    expect(session.state).toBe('live')
    expect(peer().restarts).toBe(1)
    expect(server.offers).toHaveLength(1)
  })
  it('forgives a short disconnection', async () => {
    await goLive()
    peer().move('disconnected')
    await advance(800)
    peer().move('connected')
    await frames(3000)
    expect(states).not.toContain('reconnecting')
  })
  it('reloads and reconnects by itself, with what is on air now, after the server was restarted', async () => {
    await goLive()
    plan.prompt = 'a dragon'
    server.up = false
    session.suspectServer()
    await advance(4000)
    expect(session.state).toBe('reconnecting')
    server.up = true
    server.startTime = 2
    server.status = { status: 'not_loaded' }
    await advance(3500)
    await frames(200)
    expect(session.state).toBe('live')
    expect(server.loads).toHaveLength(2)
    expect(server.offers.at(-1)).toEqual({ prompts: [{ text: 'a dragon', weight: 100 }] })
  })
  it('gives up after five attempts and says why', async () => {
    await goLive()
    server.up = false
    await advance(60_000)
    expect(session.store.getState()).toMatchObject({ state: 'failed', error: { code: 'server_unreachable' } })
  })
  it('does not retry what only a person can fix', async () => {
    await goLive()
    server.startTime = 2
    server.status = { status: 'not_loaded' }
    const offersBefore = server.offers.length
    vi.spyOn(api, 'load').mockRejectedValue(new ApiError('Token needed', 401, 'token_required'))
    await advance(8000)
    expect(session.store.getState().error?.code).toBe('token_required')
    expect(server.offers).toHaveLength(offersBefore)
  })
})
