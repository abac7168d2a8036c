import { createStore } from 'zustand/vanilla'
import { notify } from '../../app'
import { t } from '../../messages'

/** The page as a program of its own, where the browser offers that. */

/** What browsers that can install pages send when they are ready to. */
interface InstallOffer extends Event {
  prompt(): Promise<unknown>
}

export interface InstallState {
  offer: InstallOffer | null
  /** It runs in a window of its own. */
  standalone: boolean
}

const OWN_WINDOW = '(display-mode: standalone), (display-mode: window-controls-overlay)'

export const installStore = createStore<InstallState>(() => ({ offer: null, standalone: false }))

export function watchInstall(): void {
  const own = matchMedia(OWN_WINDOW)
  const seen = () => installStore.setState({ standalone: own.matches })
  own.addEventListener('change', seen)
  seen()
  window.addEventListener('beforeinstallprompt', (event) => {
    // Asked when the user asks, instead of whenever the browser likes.
    event.preventDefault()
    installStore.setState({ offer: event as InstallOffer })
  })
  window.addEventListener('appinstalled', () => {
    installStore.setState({ offer: null })
    notify(t.install.done)
  })
}

export async function install(): Promise<void> {
  const { offer } = installStore.getState()
  // An offer holds once.
  installStore.setState({ offer: null })
  await offer?.prompt()
}
