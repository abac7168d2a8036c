import { t } from '../../messages'
import type { Command } from '../shell/command'
import { askName, newProject, save } from './actions'
import { pickFile, shareLink } from './entry'
import { openDialog } from './session'

export const projectCommands: readonly Command[] = [
  { id: 'project-new', label: t.project.commands.new, group: 'project', run: newProject },
  { id: 'project-open', label: t.project.commands.open, group: 'project', run: () => openDialog({ kind: 'open' }) },
  {
    id: 'project-save',
    label: t.project.commands.save,
    group: 'project',
    keys: ['Mod+S'],
    typing: true,
    run: () => void save(),
  },
  {
    id: 'project-save-as',
    label: t.project.commands.saveAs,
    group: 'project',
    keys: ['Mod+Shift+S'],
    typing: true,
    run: () => void askName('saveAs'),
  },
  {
    id: 'file-import',
    label: t.project.commands.import,
    group: 'project',
    keys: ['Mod+O'],
    typing: true,
    run: pickFile,
  },
  {
    id: 'file-export',
    label: t.project.commands.export,
    group: 'project',
    keys: ['Mod+E'],
    typing: true,
    run: () => openDialog({ kind: 'export' }),
  },
  { id: 'share-link', label: t.project.commands.link, group: 'project', run: () => void shareLink() },
  {
    id: 'project-versions',
    label: t.project.commands.versions,
    group: 'project',
    run: () => openDialog({ kind: 'versions' }),
  },
]
