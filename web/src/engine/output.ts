import { createStore, type StoreApi } from 'zustand/vanilla'
import { z } from '../api/zod'

export const FITS = ['contain', 'cover', 'native', 'stretch'] as const
export type OutputFit = (typeof FITS)[number]
export const FADES_MS = [0, 500, 2000] as const

/** How the picture lies on the display. */
const placementSchema = z.object({
  fit: z.enum(FITS),
  /** Quarter turns, clockwise. */
  turns: z.int().check(z.gte(0), z.lte(3)),
  flipX: z.boolean(),
  flipY: z.boolean(),
  /** How long it takes to fade to black and back. */
  fadeMs: z.number().check(z.gte(0), z.lte(10_000)),
})
export type Placement = z.infer<typeof placementSchema>
const PLAIN: Placement = { fit: 'contain', turns: 0, flipX: false, flipY: false, fadeMs: 500 }

export interface OutputState extends Placement {
  stream: MediaStream | null
  open: boolean
  black: boolean
  frozen: boolean
  /** Colour bars instead of the picture. */
  bars: boolean
}

export type OutputCommand = 'black' | 'freeze' | 'bars'

/** What the output window reaches through `window.opener`: the live store itself, hence the very same stream. */
export interface OutputBridge {
  store: StoreApi<OutputState>
  command(id: OutputCommand): void
  place(change: Partial<Placement>): void
}

declare global {
  interface Window {
    scopeOutput?: OutputBridge
  }
}

const STORAGE_KEY = 'scope.output'
const UNCOVERED = { black: false, frozen: false, bars: false }

function readPlacement(): Placement {
  try {
    return placementSchema.parse({ ...PLAIN, ...JSON.parse(localStorage.getItem(STORAGE_KEY) ?? '{}') })
  } catch {
    return PLAIN
  }
}

/** The CSS transform of a placement. */
export function transformOf({ turns, flipX, flipY }: Pick<Placement, 'turns' | 'flipX' | 'flipY'>): string {
  // The last in the list acts first: the picture is mirrored as it is, and then turned.
  return `rotate(${turns * 90}deg) scale(${flipX ? -1 : 1}, ${flipY ? -1 : 1})`
}

/** The clean second window. It shows the received stream by reference: no second session, no second decode path. */
export class Output {
  readonly store = createStore<OutputState>(() => ({ stream: null, open: false, ...UNCOVERED, ...readPlacement() }))
  private popup: Window | null = null
  private poll: ReturnType<typeof setInterval> | undefined

  constructor() {
    window.scopeOutput = {
      store: this.store,
      command: (id) => this.toggle(id),
      place: (change) => this.place(change),
    }
  }

  /** Opens the window, or brings it to the front. False when the browser blocked it. */
  open(): boolean {
    if (this.popup && !this.popup.closed) {
      this.popup.focus()
      return true
    }
    this.popup = window.open('/output', 'scope-output', 'popup,width=960,height=540')
    if (!this.popup) return false
    this.store.setState({ open: true, ...UNCOVERED })
    clearInterval(this.poll)
    this.poll = setInterval(() => {
      if (!this.popup?.closed) return
      clearInterval(this.poll)
      this.popup = null
      this.store.setState({ open: false, ...UNCOVERED })
    }, 500)
    return true
  }

  show(stream: MediaStream | null): void {
    this.store.setState({ stream })
  }

  toggle(id: OutputCommand): void {
    if (id === 'black') this.store.setState(({ black }) => ({ black: !black }))
    else if (id === 'freeze') this.store.setState(({ frozen }) => ({ frozen: !frozen }))
    else this.store.setState(({ bars }) => ({ bars: !bars }))
  }

  place(change: Partial<Placement>): void {
    this.store.setState(change)
    const { fit, turns, flipX, flipY, fadeMs } = this.store.getState()
    try {
      localStorage.setItem(STORAGE_KEY, JSON.stringify({ fit, turns, flipX, flipY, fadeMs }))
    } catch {
      // A full or forbidden storage: it holds until the page is closed.
    }
  }
}
