import { Layers, ListVideo, SlidersHorizontal, Video } from 'lucide-react'
import { Tabs } from 'radix-ui'
import { Suspense } from 'react'
import { type Tab, uiStore } from '../../app'
import { type Layout, useLayout, useSessionState, useUi } from '../../hooks'
import { t } from '../../messages'
import { cx } from '../../ui/cx'
import { lazyPanel } from '../../ui/Lazily'
import { Sheet } from '../../ui/Sheet'
import { Deck } from '../deck/Deck'
import { Header } from '../header/Header'
import { PendingBar } from '../inspector/PendingBar'
import { ProjectBanner } from '../project/ProjectBanner'
import { PromptPanel } from '../prompt/PromptPanel'
import { SourcePanel } from '../source/SourcePanel'
import { Stage } from '../stage/Stage'
import { Resizer } from './Resizer'
import { StatusBar } from './StatusBar'

// The picture and its prompt come first: these two are fetched beside them.
const inspector = lazyPanel(async () => (await import('../inspector/Inspector')).Inspector)
const timeline = lazyPanel<{ tall?: boolean }>(async () => (await import('../timeline/Timeline')).Timeline)

function Inspector() {
  return (
    <Suspense fallback={null}>
      <inspector.Panel />
    </Suspense>
  )
}

function Timeline({ tall = false }: { tall?: boolean }) {
  return (
    <Suspense
      fallback={<div className={cx('shrink-0 border-t border-line bg-bg1', tall ? 'min-h-40' : 'h-[130px]')} />}
    >
      <timeline.Panel tall={tall} />
    </Suspense>
  )
}

function Wide() {
  const { leftWidth, rightWidth } = useUi((ui) => ({ leftWidth: ui.leftWidth, rightWidth: ui.rightWidth }))
  return (
    <div className="flex min-h-0 flex-1">
      <aside aria-label={t.source.title} className="shrink-0 overflow-y-auto bg-bg1" style={{ width: leftWidth }}>
        <SourcePanel />
      </aside>
      <main className="flex min-w-0 flex-1">
        <Resizer
          label={t.layout.resizeSource}
          value={leftWidth}
          min={220}
          max={420}
          initial={280}
          grows="right"
          onChange={(next) => uiStore.setState({ leftWidth: next })}
        />
        <div className="flex min-w-0 flex-1 flex-col">
          <Stage />
          <div className="border-t border-line">
            <PromptPanel />
            <Deck />
          </div>
        </div>
        <Resizer
          label={t.layout.resizeInspector}
          value={rightWidth}
          min={260}
          max={480}
          initial={320}
          grows="left"
          onChange={(next) => uiStore.setState({ rightWidth: next })}
        />
      </main>
      <aside aria-label={t.inspector.title} className="shrink-0 overflow-y-auto bg-bg1" style={{ width: rightWidth }}>
        <Inspector />
      </aside>
    </div>
  )
}

function Medium() {
  const drawer = useUi((ui) => ui.drawer)
  const close = () => uiStore.setState({ drawer: null })
  return (
    <main className="flex min-h-0 min-w-0 flex-1 flex-col">
      <Stage />
      <div className="border-t border-line pt-2 empty:hidden">
        <PendingBar />
        <PromptPanel />
        <Deck />
      </div>
      <Sheet open={drawer === 'source'} side="left" title={t.source.title} onClose={close}>
        <SourcePanel />
      </Sheet>
      <Sheet open={drawer === 'inspector'} side="right" title={t.inspector.title} onClose={close}>
        <Inspector />
      </Sheet>
    </main>
  )
}

const TABS: readonly { id: Tab; icon: typeof Video }[] = [
  { id: 'deck', icon: Layers },
  { id: 'takes', icon: ListVideo },
  { id: 'source', icon: Video },
  { id: 'tune', icon: SlidersHorizontal },
]

/** A phone is a remote control: picture and prompt always in view, one panel at a time below them. */
function Narrow() {
  const tab = useUi((ui) => ui.tab)
  const state = useSessionState()
  return (
    <Tabs.Root
      value={tab}
      onValueChange={(next) => uiStore.setState({ tab: next as Tab })}
      className="flex min-h-0 flex-1 flex-col"
    >
      <main className="flex min-h-0 flex-1 flex-col">
        <div
          className={cx(
            'flex aspect-video max-h-[38vh] w-full shrink-0',
            state === 'failed' ? 'min-h-70' : state === 'loading' ? 'min-h-52' : 'min-h-36',
          )}
        >
          <Stage />
        </div>
        <div className="min-h-0 flex-1 overflow-y-auto bg-bg1">
          <PromptPanel compact />
          <PendingBar />
          <Tabs.Content value="deck" tabIndex={-1}>
            <Deck layout="pads" />
          </Tabs.Content>
          <Tabs.Content value="takes" tabIndex={-1}>
            <Timeline tall />
          </Tabs.Content>
          <Tabs.Content value="source" tabIndex={-1}>
            <SourcePanel />
          </Tabs.Content>
          <Tabs.Content value="tune" tabIndex={-1}>
            <Inspector />
          </Tabs.Content>
        </div>
        <Tabs.List
          aria-label={t.layout.tabsLabel}
          className="grid h-14 shrink-0 grid-cols-4 border-t border-line bg-bg1"
        >
          {TABS.map(({ id, icon: Icon }) => (
            <Tabs.Trigger
              key={id}
              value={id}
              className="flex flex-col items-center justify-center gap-0.5 text-11 font-medium text-fg3 focus-visible:outline-offset-[-2px] data-[state=active]:text-accent"
            >
              <Icon size={19} aria-hidden />
              {t.layout.tabs[id]}
            </Tabs.Trigger>
          ))}
        </Tabs.List>
      </main>
    </Tabs.Root>
  )
}

export function Perform() {
  const layout: Layout = useLayout()
  return (
    <div className="flex h-full flex-col">
      <Header layout={layout} />
      <ProjectBanner />
      {layout === 'wide' && <Wide />}
      {layout === 'medium' && <Medium />}
      {layout === 'narrow' && <Narrow />}
      {layout !== 'narrow' && <Timeline />}
      {layout !== 'narrow' && <StatusBar />}
    </div>
  )
}
