import { uiStore } from '../../app'
import { t } from '../../messages'
import type { Command } from '../shell/command'

export const paletteCommands: readonly Command[] = [
  {
    id: 'palette',
    label: t.commands.palette,
    group: 'view',
    keys: ['Mod+K'],
    typing: true,
    run: () => uiStore.setState(({ palette }) => ({ palette: !palette })),
  },
]
