import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createStore } from 'zustand/vanilla'
import type { Asset } from '../api/types'
import { LOW_BYTES, watchDisk } from './disk'
import { Recorder, type RecorderState } from './recorder'

const FILED: Asset = {
  name: 'scope-1',
  path: '/data/assets/recordings/scope 1.mp4',
  size_mb: 2,
  folder: 'recordings',
  type: 'video',
  created_at: 0,
}

/** A recorder of the browser that only knows when it is stopped. */
class FakeMediaRecorder extends EventTarget {
  state = 'inactive'
  mimeType = 'video/webm'
  ondataavailable: ((event: { data: Blob }) => void) | null = null
  start() {
    this.state = 'recording'
    this.ondataavailable?.({ data: new Blob(['film']) })
  }
  stop() {
    this.state = 'inactive'
    this.dispatchEvent(new Event('stop'))
  }
}

function make(api: Partial<ConstructorParameters<typeof Recorder>[0]> = {}) {
  const heard: string[] = []
  const recorder = new Recorder(
    { startRecording: async () => undefined, stopRecording: async () => FILED, ...api },
    {
      filed: ({ name }) => heard.push(`filed ${name}`),
      made: (_, data) => heard.push(`made ${data.size}`),
      left: () => heard.push('left'),
      save: (url, name) => heard.push(`saved ${url.split(':')[0]} ${name.replace(/\d{4}.*\./, '.')}`),
    },
  )
  return { recorder, heard, phase: () => recorder.store.getState().phase }
}
const none = async () => Promise.reject(new Error('no recorder'))
const STREAM = {} as MediaStream

describe('a recording', () => {
  beforeEach(() => vi.stubGlobal('MediaRecorder', FakeMediaRecorder))
  afterEach(() => vi.unstubAllGlobals())

  it('is filed by the server and offered from there, under its own name', async () => {
    const { recorder, heard } = make()
    await recorder.start('a', STREAM)
    await recorder.stop()
    expect(heard).toEqual(['filed scope-1', 'saved /api/v1/assets/recordings/scope%201.mp4 scope 1.mp4'])
    expect(recorder.store.getState().result?.bytes).toBe(2 * 1_048_576)
  })

  it('goes on through a new path to the same session, and is left to the server with another', async () => {
    const { recorder, heard, phase } = make()
    await recorder.start('a', STREAM)
    recorder.check('a', STREAM)
    expect(phase()).toBe('on')
    recorder.check('b', STREAM)
    expect([phase(), ...heard]).toEqual(['off', 'left'])
  })

  it('is made here where the server cannot, and saved when its stream ends', async () => {
    const { recorder, heard, phase } = make({ startRecording: none })
    await recorder.start('a', STREAM)
    recorder.check('a', STREAM)
    expect(phase()).toBe('on')
    recorder.check(null, null)
    await vi.waitFor(() => expect(phase()).toBe('off'))
    expect(heard).toEqual(['made 4', 'saved blob scope-.webm'])
  })

  it.each([
    ['neither can', { startRecording: none }, null],
    ['it is not kept', { stopRecording: async () => null }, STREAM],
    ['it cannot be ended', { stopRecording: none }, STREAM],
  ])('says when %s', async (_, api, stream) => {
    const { recorder, phase } = make(api)
    await recorder.start('a', stream)
    await recorder.stop()
    expect(phase()).toBe('off')
    expect(recorder.store.getState().failed).not.toBeNull()
  })
})

it('says once in a recording that there is little room', async () => {
  vi.useFakeTimers()
  const recorder = createStore<RecorderState>(() => ({ phase: 'off', since: 0, result: null, failed: null }))
  const rooms = [LOW_BYTES, LOW_BYTES - 1, 5]
  const store = createStore(() => ({ room: 9e9 as number | null }))
  const refresh = async () => store.setState({ room: rooms.shift() ?? 4 })
  const low: number[] = []
  watchDisk(recorder, { refresh, store } as never, (bytes) => low.push(bytes))
  recorder.setState({ phase: 'on' })
  await vi.advanceTimersByTimeAsync(1000)
  expect(low).toEqual([])
  await vi.advanceTimersByTimeAsync(60_000)
  expect(low).toEqual([LOW_BYTES - 1])
  recorder.setState({ phase: 'off' })
  recorder.setState({ phase: 'on' })
  await vi.advanceTimersByTimeAsync(0)
  expect(low).toEqual([LOW_BYTES - 1, 4])
  vi.useRealTimers()
})
