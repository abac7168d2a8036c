import { type ComponentType, lazy, Suspense, useState } from 'react'

export interface LazyPanel<Props = object> {
  Panel: ComponentType<Props>
  /** Fetches the code before it is needed. */
  preload(): void
}

const Nothing = () => null

/** A panel whose code is fetched when it is first opened. A server that has just gone must not take the page with it. */
export function lazyPanel<Props = object>(load: () => Promise<ComponentType<Props>>): LazyPanel<Props> {
  const Panel = lazy(async () => ({ default: await load().catch((): ComponentType<Props> => Nothing) }))
  return { Panel: Panel as ComponentType<Props>, preload: () => void load().catch(() => undefined) }
}

/** Renders a panel from its first opening on, so that it can close in its own way. */
export function Lazily({ of: { Panel }, open }: { of: LazyPanel; open: boolean }) {
  const [opened, setOpened] = useState(open)
  if (open && !opened) setOpened(true)
  if (!opened) return null
  return (
    <Suspense fallback={null}>
      <Panel />
    </Suspense>
  )
}
