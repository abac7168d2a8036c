import { uiStore } from '../../app'
import { useUi } from '../../hooks'
import { t } from '../../messages'
import { Kbd } from '../../ui/Button'
import { Switch } from '../../ui/controls'
import { Sheet } from '../../ui/Sheet'
import { commands } from './commands'

const keyName = (key: string) =>
  key === ' ' ? 'Space' : key.length === 1 ? key.toUpperCase() : key.replace('+f', '+F')

const PROMPT_KEYS: readonly (readonly [string, string])[] = [
  ['Enter', t.shortcuts.take],
  ['Shift+Enter', t.shortcuts.newline],
  ['Alt+Enter', t.shortcuts.hardCut],
  ['Ctrl+Enter', t.shortcuts.store],
  ['Esc', t.shortcuts.revert],
  ['↑', t.shortcuts.history],
]

function Row({ keys, label }: { keys: string; label: string }) {
  return (
    <div className="flex h-8 items-center justify-between gap-4 border-b border-line/60">
      <dt className="text-13 text-fg1">{label}</dt>
      <dd className="m-0">
        <Kbd>{keys}</Kbd>
      </dd>
    </div>
  )
}

export function ShortcutSheet() {
  const { sheet, singleKeys } = useUi((ui) => ({ sheet: ui.sheet, singleKeys: ui.singleKeys }))
  return (
    <Sheet
      open={sheet}
      side="center"
      title={t.shortcuts.title}
      description={t.shortcuts.note}
      onClose={() => uiStore.setState({ sheet: false })}
    >
      <div className="grid gap-x-8 gap-y-4 p-4 md:grid-cols-2">
        <dl className="m-0">
          {commands.map((command) => (
            <Row key={command.id} keys={keyName(command.key)} label={command.label} />
          ))}
          <Row keys="1–8" label={t.shortcuts.deck} />
        </dl>
        <div>
          <h3 className="panel-title mb-1">{t.shortcuts.inPrompt}</h3>
          <dl className="m-0">
            {PROMPT_KEYS.map(([keys, label]) => (
              <Row key={keys} keys={keys} label={label} />
            ))}
          </dl>
          <div className="mt-4 flex items-center justify-between text-13">
            <span>{t.shortcuts.singleKeys}</span>
            <Switch
              label={t.shortcuts.singleKeys}
              checked={singleKeys}
              onChange={(next) => uiStore.setState({ singleKeys: next })}
            />
          </div>
        </div>
      </div>
    </Sheet>
  )
}
