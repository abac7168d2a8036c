import { type SettingsPage, uiStore } from '../../app'
import { t } from '../../messages'
import type { Command } from '../shell/command'

export const SETTINGS_PAGES: readonly SettingsPage[] = [
  'general',
  'video',
  'controllers',
  'keyboard',
  'storage',
  'accounts',
  'plugins',
  'about',
]

export function openSettings(page: SettingsPage = 'general'): void {
  uiStore.setState({ settings: page })
}

export const settingsCommands: readonly Command[] = [
  {
    id: 'settings',
    label: t.commands.settings,
    group: 'view',
    keys: ['Mod+,'],
    typing: true,
    run: () => openSettings(),
  },
]
