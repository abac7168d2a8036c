import { t } from '../../messages'
import type { Command } from '../shell/command'
import { LIBRARY_TABS, openLibrary, toggleLibrary } from './state'

export const libraryCommands: readonly Command[] = [
  { id: 'library', label: t.commands.library, group: 'view', keys: ['L'], run: toggleLibrary },
  ...LIBRARY_TABS.map(
    (tab): Command => ({
      id: `library-${tab}`,
      label: t.commands.libraryTab(t.library.tabs[tab]),
      group: 'view',
      run: () => openLibrary(tab),
    }),
  ),
]
