import {
  Box,
  Globe,
  HardDrive,
  Info,
  Keyboard,
  KeyRound,
  type LucideIcon,
  Settings2,
  SlidersVertical,
} from 'lucide-react'
import { Tabs } from 'radix-ui'
import type { ComponentType } from 'react'
import { type SettingsPage, uiStore } from '../../app'
import { useLayout, useUi } from '../../hooks'
import { t } from '../../messages'
import { Sheet } from '../../ui/Sheet'
import { Controllers } from '../control/Controllers'
import { About } from './About'
import { Accounts } from './Accounts'
import { SETTINGS_PAGES } from './commands'
import { General } from './General'
import { KeyboardPage } from './KeyboardPage'
import { Plugins } from './Plugins'
import { Storage } from './Storage'
import { VideoPage } from './VideoPage'

const PAGES: Record<SettingsPage, { icon: LucideIcon; page: ComponentType }> = {
  general: { icon: Settings2, page: General },
  video: { icon: Globe, page: VideoPage },
  controllers: { icon: SlidersVertical, page: Controllers },
  keyboard: { icon: Keyboard, page: KeyboardPage },
  storage: { icon: HardDrive, page: Storage },
  accounts: { icon: KeyRound, page: Accounts },
  plugins: { icon: Box, page: Plugins },
  about: { icon: Info, page: About },
}

export function SettingsDialog() {
  const settings = useUi((ui) => ui.settings)
  const narrow = useLayout() === 'narrow'
  return (
    <Sheet
      open={settings !== null}
      side="center"
      title={t.settings.title}
      onClose={() => uiStore.setState({ settings: null })}
    >
      <Tabs.Root
        value={settings ?? 'general'}
        orientation={narrow ? 'horizontal' : 'vertical'}
        onValueChange={(next) => uiStore.setState({ settings: next as SettingsPage })}
        data-testid="settings"
        className="flex h-[min(620px,calc(86vh-48px))] max-md:flex-col"
      >
        <Tabs.List
          aria-label={t.settings.pagesLabel}
          className="flex w-44 shrink-0 flex-col gap-0.5 overflow-auto border-r border-line p-2 max-md:w-full max-md:flex-row max-md:border-r-0 max-md:border-b"
        >
          {SETTINGS_PAGES.map((id) => {
            const { icon: Icon } = PAGES[id]
            return (
              <Tabs.Trigger
                key={id}
                value={id}
                className="flex h-8 shrink-0 items-center gap-2.5 rounded-1 px-2.5 text-left text-13 whitespace-nowrap text-fg2 hover:bg-bg2 hover:text-fg1 focus-visible:outline-offset-[-2px] data-[state=active]:bg-bg3 data-[state=active]:font-medium data-[state=active]:text-fg1 max-md:h-11"
              >
                <Icon size={15} className="shrink-0" aria-hidden />
                {t.settings.pages[id]}
              </Tabs.Trigger>
            )
          })}
        </Tabs.List>
        {SETTINGS_PAGES.map((id) => {
          const { page: Page } = PAGES[id]
          return (
            <Tabs.Content
              key={id}
              value={id}
              className="min-h-0 min-w-0 flex-1 overflow-y-auto p-4 focus-visible:outline-offset-[-2px]"
            >
              <Page />
            </Tabs.Content>
          )
        })}
      </Tabs.Root>
    </Sheet>
  )
}
