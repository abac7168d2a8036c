import { createStore } from 'zustand/vanilla'

/** Messages of MIDI inputs, of all devices at once. Knows nothing of what they are mapped to. */

export interface MidiMessage {
  kind: 'cc' | 'note' | 'bend'
  device: string
  /** 0 to 15; people count from 1. */
  channel: number
  /** Of the controller or the note; 0 for the pitch wheel. */
  number: number
  /** 0 to 127; of the pitch wheel 0 to 16383. A note that is let go has 0. */
  value: number
}

/** The parts of Web MIDI that are used, so that tests and other hosts can stand in for it. */
export interface MidiInput {
  readonly id: string
  readonly name?: string | null
  readonly state?: string
  onmidimessage: ((event: { data: Uint8Array | null; timeStamp?: number }) => void) | null
}
export interface MidiAccess {
  readonly inputs: { forEach(visit: (input: MidiInput) => void): void }
  onstatechange: ((event: unknown) => void) | null
}
export type RequestMidi = () => Promise<MidiAccess>

export type MidiState = 'off' | 'asking' | 'on' | 'denied' | 'missing'

/** What bytes say; null for what is not used: aftertouch, program changes. */
export function parseMidi(data: ArrayLike<number>, device: string): MidiMessage | null {
  const [status = 0, first = 0, second = 0] = Array.from(data)
  if (data.length < 3) return null
  const channel = status & 0x0f
  switch (status & 0xf0) {
    case 0x80:
      return { kind: 'note', device, channel, number: first, value: 0 }
    case 0x90:
      return { kind: 'note', device, channel, number: first, value: second }
    case 0xb0:
      return { kind: 'cc', device, channel, number: first, value: second }
    case 0xe0:
      return { kind: 'bend', device, channel, number: 0, value: first | (second << 7) }
    default:
      return null
  }
}

const KEY = 'scope.midi'
const SYSTEM = 0xf0

export class Midi {
  readonly store = createStore<{ state: MidiState; inputs: readonly string[] }>(() => ({ state: 'off', inputs: [] }))
  onMessage: (message: MidiMessage) => void = () => undefined
  /** What belongs to no channel: the clock, start and stop, the song position. At a time of the page's own clock. */
  onSystem: (data: Uint8Array, at: number) => void = () => undefined

  constructor(
    private readonly request: RequestMidi | null,
    private readonly storage: Pick<Storage, 'getItem' | 'setItem'>,
  ) {
    if (!request) this.store.setState({ state: 'missing' })
  }

  /** Listens at once where the user has allowed it before. */
  resume(): void {
    if (this.storage.getItem(KEY) === 'on') void this.start()
  }

  /** Asks the browser for the devices; it asks the user, once. */
  async start(): Promise<void> {
    const { state } = this.store.getState()
    if (!this.request || state === 'on' || state === 'asking') return
    this.store.setState({ state: 'asking' })
    try {
      const access = await this.request()
      access.onstatechange = () => this.listen(access)
      this.listen(access)
      this.store.setState({ state: 'on' })
      this.storage.setItem(KEY, 'on')
    } catch {
      this.store.setState({ state: 'denied' })
    }
  }

  private listen(access: MidiAccess): void {
    const names: string[] = []
    access.inputs.forEach((input) => {
      if (input.state === 'disconnected') return
      const name = input.name || input.id
      names.push(name)
      input.onmidimessage = ({ data, timeStamp }) => {
        if (!data) return
        if ((data[0] ?? 0) >= SYSTEM) {
          this.onSystem(data, timeStamp || performance.now())
          return
        }
        const message = parseMidi(data, name)
        if (message) this.onMessage(message)
      }
    })
    this.store.setState({ inputs: names })
  }
}
