import { t } from '../../messages'
import type { Command } from '../shell/command'
import { install, installStore } from './install'

export const installCommands: readonly Command[] = [
  {
    id: 'install',
    label: t.install.command,
    group: 'view',
    when: () => installStore.getState().offer !== null,
    run: () => void install(),
  },
]
