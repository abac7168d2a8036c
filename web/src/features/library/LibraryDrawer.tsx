import { Tabs } from 'radix-ui'
import { useStore } from 'zustand'
import { t } from '../../messages'
import { Sheet } from '../../ui/Sheet'
import { LorasTab } from './LorasTab'
import { MediaTab } from './MediaTab'
import { PresetsTab } from './PresetsTab'
import { RecordingsTab } from './RecordingsTab'
import { closeLibrary, endPick, LIBRARY_TABS, type LibraryTab, libraryStore, openLibrary } from './state'

const PANELS = { media: MediaTab, loras: LorasTab, recordings: RecordingsTab, presets: PresetsTab }

/** Everything that is kept between pictures, over the stage; the picture goes on beside it. */
export default function LibraryDrawer() {
  const { open, tab, pick } = useStore(libraryStore)
  return (
    <>
      <Sheet open={open} side="right" wide title={t.library.title} onClose={closeLibrary}>
        <Tabs.Root
          value={tab}
          onValueChange={(next) => openLibrary(next as LibraryTab)}
          className="flex h-full flex-col"
          data-testid="library"
        >
          <Tabs.List aria-label={t.library.tabsLabel} className="flex shrink-0 border-b border-line px-1">
            {LIBRARY_TABS.map((id) => (
              <Tabs.Trigger
                key={id}
                value={id}
                className="h-10 flex-1 border-b-2 border-transparent px-2 text-12 font-medium text-fg2 -outline-offset-2 hover:text-fg1 data-[state=active]:border-accent data-[state=active]:text-fg1 max-md:h-11"
              >
                {t.library.tabs[id]}
              </Tabs.Trigger>
            ))}
          </Tabs.List>
          {LIBRARY_TABS.map((id) => {
            const Panel = PANELS[id]
            return (
              <Tabs.Content
                key={id}
                value={id}
                tabIndex={-1}
                className="min-h-0 flex-1 outline-none data-[state=active]:flex flex-col"
              >
                <Panel />
              </Tabs.Content>
            )
          })}
        </Tabs.Root>
      </Sheet>
      <Sheet
        open={pick !== null}
        side="center"
        title={pick ? t.library.media.pickTitle(pick.label) : ''}
        onClose={endPick}
      >
        {pick && (
          <div className="flex h-[min(620px,74vh)] flex-col" data-testid="asset-picker">
            <MediaTab
              kind={pick.kind}
              onPick={(asset) => {
                pick.chosen(asset)
                endPick()
              }}
            />
          </div>
        )}
      </Sheet>
    </>
  )
}
