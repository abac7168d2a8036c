import { notify, scope } from '../../app'
import { t } from '../../messages'
import type { Command } from '../shell/command'

export function openOutput(): void {
  if (!scope.output.open()) notify(t.output.blocked)
}

function onOutput(run: () => void): void {
  if (scope.output.store.getState().open) run()
  else notify(t.output.needed)
}

export const outputCommands: readonly Command[] = [
  { id: 'output', label: t.commands.output, group: 'output', keys: ['O'], run: openOutput },
  {
    id: 'black',
    label: t.commands.black,
    group: 'output',
    keys: ['B'],
    run: () => onOutput(() => scope.output.toggle('black')),
  },
  {
    id: 'freeze',
    label: t.commands.freeze,
    group: 'output',
    keys: ['Shift+F'],
    run: () => onOutput(() => scope.output.toggle('freeze')),
  },
  {
    id: 'bars',
    label: t.commands.bars,
    group: 'output',
    run: () => onOutput(() => scope.output.toggle('bars')),
  },
]
