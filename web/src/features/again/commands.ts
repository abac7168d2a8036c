import { t } from '../../messages'
import type { Command } from '../shell/command'
import { openAgain, saveLatest } from './state'

export const againCommands: readonly Command[] = [
  { id: 'render-again', label: t.again.command, group: 'output', run: openAgain },
  { id: 'save-score', label: t.again.saveCommand, group: 'project', run: () => void saveLatest() },
]
