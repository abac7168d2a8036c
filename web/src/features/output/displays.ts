/** Full screen on a chosen display, where the browser knows of several. */

interface Display {
  label: string
  isPrimary: boolean
  width: number
  height: number
}

type DisplayWindow = Window & { getScreenDetails?: () => Promise<{ screens: Display[] }> }

export const knowsDisplays = () => 'getScreenDetails' in window

/** The displays of this machine; the browser asks whether the page may know them. Null when it may not. */
export async function displays(): Promise<Display[] | null> {
  return (
    (window as DisplayWindow).getScreenDetails?.().then(
      ({ screens }) => screens,
      () => null,
    ) ?? null
  )
}

export async function fillDisplay(display: Display): Promise<void> {
  const options = { screen: display } as FullscreenOptions
  await document.documentElement.requestFullscreen(options).catch(() => undefined)
}

export type { Display }
