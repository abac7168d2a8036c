import { uiStore } from '../../app'
import { t } from '../../messages'
import type { Command } from '../shell/command'

export const controlCommands: readonly Command[] = [
  {
    id: 'mapping',
    label: t.commands.mapping,
    group: 'view',
    keys: ['Mod+M'],
    typing: true,
    run: () => {
      const { mapping } = uiStore.getState()
      void import('./controller').then(({ setMapping }) => setMapping(!mapping))
    },
  },
]
