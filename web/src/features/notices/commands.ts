import { uiStore } from '../../app'
import { t } from '../../messages'
import type { Command } from '../shell/command'

export const noticeCommands: readonly Command[] = [
  {
    id: 'center',
    label: t.commands.center,
    group: 'view',
    run: () => uiStore.setState(({ center }) => ({ center: !center })),
  },
]
