import { uiStore } from '../../app'
import { t } from '../../messages'
import type { Command } from '../shell/command'

export const logCommands: readonly Command[] = [
  {
    id: 'logs',
    label: t.commands.logs,
    group: 'view',
    keys: ['`'],
    run: () => uiStore.setState(({ logs }) => ({ logs: !logs })),
  },
]
