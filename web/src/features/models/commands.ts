import { uiStore } from '../../app'
import { t } from '../../messages'
import type { Command } from '../shell/command'
import { openModels } from './open'

export const modelCommands: readonly Command[] = [
  {
    id: 'models',
    label: t.commands.models,
    group: 'view',
    keys: ['M'],
    run: () => (uiStore.getState().models ? uiStore.setState({ models: false }) : openModels()),
  },
]
