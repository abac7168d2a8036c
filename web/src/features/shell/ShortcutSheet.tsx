import { useStore } from 'zustand'
import { uiStore } from '../../app'
import { useUi } from '../../hooks'
import { t } from '../../messages'
import { Kbd } from '../../ui/Button'
import { Switch } from '../../ui/controls'
import { Sheet } from '../../ui/Sheet'
import { chordLabel } from './chords'
import { COMMAND_GROUPS } from './command'
import { commands } from './commands'
import { keymapStore, keysOf } from './keymap'

const PROMPT_KEYS: readonly (readonly [string, string])[] = [
  ['Enter', t.shortcuts.take],
  ['Shift+Enter', t.shortcuts.newline],
  ['Alt+Enter', t.shortcuts.hardCut],
  ['Ctrl+Enter', t.shortcuts.store],
  ['Esc', t.shortcuts.revert],
  ['↑', t.shortcuts.history],
]

interface RowProps {
  keys: readonly string[]
  label: string
}

function Group({ title, rows }: { title: string; rows: readonly RowProps[] }) {
  return (
    <section className="mb-4 break-inside-avoid">
      <h3 className="panel-title mb-1">{title}</h3>
      <dl className="m-0">
        {rows.map(({ keys, label }) => (
          <div key={label} className="flex min-h-8 items-center justify-between gap-4 border-b border-line/60">
            <dt className="text-13 text-fg1">{label}</dt>
            <dd className="m-0 flex shrink-0 gap-1">
              {keys.map((key) => (
                <Kbd key={key}>{key}</Kbd>
              ))}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

/** All keys by group, from the commands themselves. */
export function ShortcutSheet() {
  const { sheet, singleKeys } = useUi((ui) => ({ sheet: ui.sheet, singleKeys: ui.singleKeys }))
  const own = useStore(keymapStore)
  const rows = (group: (typeof COMMAND_GROUPS)[number]) =>
    commands
      .filter((command) => command.group === group)
      .map((command) => ({ label: command.label, keys: keysOf(command, own).map((chord) => chordLabel(chord)) }))
      .filter(({ keys }) => keys.length > 0)
  return (
    <Sheet
      open={sheet}
      side="center"
      title={t.shortcuts.title}
      description={t.shortcuts.note}
      onClose={() => uiStore.setState({ sheet: false })}
    >
      <div className="gap-x-8 p-4 md:columns-2">
        {COMMAND_GROUPS.map((group) => {
          const own = rows(group)
          return own.length > 0 && <Group key={group} title={t.commands.groups[group]} rows={own} />
        })}
        <Group title={t.shortcuts.inPrompt} rows={PROMPT_KEYS.map(([key, label]) => ({ keys: [key], label }))} />
        <div className="flex break-inside-avoid items-center justify-between text-13">
          <span>{t.shortcuts.singleKeys}</span>
          <Switch
            label={t.shortcuts.singleKeys}
            checked={singleKeys}
            onChange={(next) => uiStore.setState({ singleKeys: next })}
          />
        </div>
      </div>
    </Sheet>
  )
}
