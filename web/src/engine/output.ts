import { createStore, type StoreApi } from 'zustand/vanilla'

export type OutputFit = 'contain' | 'cover' | 'native'

export interface OutputState {
  stream: MediaStream | null
  open: boolean
  black: boolean
  frozen: boolean
  fit: OutputFit
}

/** What the output window reaches through `window.opener`: the live store itself, hence the very same stream. */
export interface OutputBridge {
  store: StoreApi<OutputState>
  command(id: 'black' | 'freeze'): void
}

declare global {
  interface Window {
    scopeOutput?: OutputBridge
  }
}

/** The clean second window. It shows the received stream by reference: no second session, no second decode path. */
export class Output {
  readonly store = createStore<OutputState>(() => ({
    stream: null,
    open: false,
    black: false,
    frozen: false,
    fit: 'contain',
  }))
  private popup: Window | null = null
  private poll: ReturnType<typeof setInterval> | undefined

  constructor() {
    window.scopeOutput = {
      store: this.store,
      command: (id) => (id === 'black' ? this.toggleBlack() : this.toggleFreeze()),
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
    this.store.setState({ open: true, black: false, frozen: false })
    clearInterval(this.poll)
    this.poll = setInterval(() => {
      if (!this.popup?.closed) return
      clearInterval(this.poll)
      this.popup = null
      this.store.setState({ open: false, black: false, frozen: false })
    }, 500)
    return true
  }

  show(stream: MediaStream | null): void {
    this.store.setState({ stream })
  }

  toggleBlack(): void {
    this.store.setState(({ black }) => ({ black: !black }))
  }

  toggleFreeze(): void {
    this.store.setState(({ frozen }) => ({ frozen: !frozen }))
  }

  setFit(fit: OutputFit): void {
    this.store.setState({ fit })
  }
}
