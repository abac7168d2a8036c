import {
  ChevronDown,
  Clapperboard,
  Copy,
  Download,
  FilePlus2,
  FolderOpen,
  History,
  Link,
  type LucideIcon,
  PencilLine,
  Save,
  SaveAll,
  Trash2,
  Upload,
} from 'lucide-react'
import { DropdownMenu } from 'radix-ui'
import { useStore } from 'zustand'
import { bindingStore } from '../../doc/store'
import { useDoc } from '../../hooks'
import { t } from '../../messages'
import { Kbd } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { openAgain } from '../again/state'
import { askName, askRemove, clockText, newProject, save } from './actions'
import { pickFile, shareLink } from './entry'
import { autosave, openDialog } from './session'

interface Entry {
  id: keyof typeof t.project.items
  icon: LucideIcon
  keys?: string
  /** Needs a project that has been saved. */
  named?: boolean
  run(): void
}

const GROUPS: readonly (readonly Entry[])[] = [
  [
    { id: 'new', icon: FilePlus2, run: newProject },
    { id: 'open', icon: FolderOpen, run: () => openDialog({ kind: 'open' }) },
  ],
  [
    { id: 'save', icon: Save, keys: 'Ctrl+S', run: () => void save() },
    { id: 'saveAs', icon: SaveAll, run: () => void askName('saveAs') },
    { id: 'duplicate', icon: Copy, named: true, run: () => void askName('duplicate') },
    { id: 'rename', icon: PencilLine, named: true, run: () => void askName('rename') },
    { id: 'remove', icon: Trash2, named: true, run: askRemove },
  ],
  [
    { id: 'import', icon: Upload, keys: 'Ctrl+O', run: pickFile },
    { id: 'export', icon: Download, keys: 'Ctrl+E', run: () => openDialog({ kind: 'export' }) },
    { id: 'link', icon: Link, run: () => void shareLink() },
    { id: 'again', icon: Clapperboard, run: openAgain },
  ],
  [{ id: 'versions', icon: History, run: () => openDialog({ kind: 'versions' }) }],
]

/** In a few words, whether what is on the page is safe. */
function useSafety(): { text: string; warn: boolean } {
  const { binding } = useStore(bindingStore)
  // In minutes: what is shown changes no more often than that.
  const minute = useStore(autosave.store, ({ savedAt }) => (savedAt === null ? null : Math.floor(savedAt / 60_000)))
  const role = useStore(autosave.store, ({ role }) => role)
  const problem = useStore(autosave.store, ({ problem }) => problem)
  const { state } = t.project
  if (role === 'reader') return { text: state.reader, warn: true }
  if (binding && !binding.dirty) return { text: state.saved(clockText(binding.savedAt)), warn: false }
  if (problem !== null) return { text: state.notStored, warn: true }
  if (binding) return { text: state.edited, warn: false }
  return { text: minute === null ? '' : state.autosaved(clockText(minute * 60_000)), warn: false }
}

function Item({ entry }: { entry: Entry }) {
  const { icon: Icon } = entry
  return (
    <DropdownMenu.Item
      data-testid={`project-${entry.id}`}
      // After the menu has given the focus back, so that a dialog gets it and returns it to the button.
      onSelect={() => setTimeout(entry.run)}
      className="flex h-8 cursor-pointer items-center gap-2.5 rounded-[3px] px-2 text-12 text-fg1 outline-none select-none data-[highlighted]:bg-bg3 max-md:h-11 max-md:text-14"
    >
      <Icon size={15} className="shrink-0 text-fg3" aria-hidden />
      <span className="flex-1">{t.project.items[entry.id]}</span>
      {entry.keys && (
        <span className="max-md:hidden">
          <Kbd>{entry.keys}</Kbd>
        </span>
      )}
    </DropdownMenu.Item>
  )
}

/** The project's name, whether it is kept, and everything that can be done with it. */
export function ProjectMenu({ compact = false }: { compact?: boolean }) {
  const { binding } = useStore(bindingStore)
  const own = useDoc((doc) => doc.name)
  const name = own || t.project.untitled
  const { text, warn } = useSafety()
  return (
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger
        data-testid="project-menu"
        aria-label={compact ? `${t.project.menu} ${name}${text ? `, ${text}` : ''}` : undefined}
        className={cx(
          'flex min-w-0 items-center gap-2 rounded-1 text-13 text-fg1 hover:bg-bg3 data-[state=open]:bg-bg3',
          compact ? 'h-11 w-11 shrink-0 justify-center' : 'h-8 max-w-72 px-2',
        )}
      >
        {compact ? (
          <FolderOpen size={18} className={warn ? 'text-warn' : 'text-fg2'} aria-hidden />
        ) : (
          <>
            <span className="sr-only">{t.project.menu} </span>
            <span className="min-w-0 truncate font-medium" data-testid="project-name">
              {name}
            </span>
            {text && <span className="sr-only">, </span>}
            {text && (
              <span
                className={cx('shrink-0 text-11', warn ? 'font-medium text-warn' : 'text-fg3')}
                data-testid="project-state"
              >
                {text}
              </span>
            )}
            <ChevronDown size={14} className="shrink-0 text-fg3" aria-hidden />
          </>
        )}
      </DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content
          align={compact ? 'end' : 'start'}
          sideOffset={6}
          collisionPadding={8}
          className="z-50 max-h-(--radix-dropdown-menu-content-available-height) w-60 overflow-y-auto rounded-1 border border-edge bg-bg2 p-1 shadow-xl shadow-black/50"
        >
          {compact && (
            <DropdownMenu.Label className="truncate px-2 py-1.5 text-12 text-fg2">
              {name}
              {text && <span className={cx('ml-2', warn ? 'text-warn' : 'text-fg3')}>{text}</span>}
            </DropdownMenu.Label>
          )}
          {GROUPS.map((group, i) => (
            <DropdownMenu.Group key={group[0]?.id}>
              {i > 0 && <DropdownMenu.Separator className="my-1 h-px bg-line" />}
              {group
                .filter(({ named }) => !named || binding !== null)
                .map((entry) => (
                  <Item key={entry.id} entry={entry} />
                ))}
            </DropdownMenu.Group>
          ))}
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  )
}
