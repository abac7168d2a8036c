import { uiStore } from '../../app'
import { t } from '../../messages'
import type { Command } from './command'

export const viewCommands: readonly Command[] = [
  {
    id: 'sheet',
    label: t.commands.sheet,
    group: 'view',
    keys: ['?'],
    run: () => uiStore.setState({ sheet: true }),
  },
]
