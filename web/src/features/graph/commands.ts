import { t } from '../../messages'
import type { Command } from '../shell/command'
import { toggleGraph } from './state'

export const graphCommands: readonly Command[] = [
  { id: 'graph', label: t.graph.command, group: 'view', keys: ['G'], run: toggleGraph },
]
