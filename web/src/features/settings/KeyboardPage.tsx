import { Plus, RotateCcw, Search, TriangleAlert, X } from 'lucide-react'
import { type KeyboardEvent, useMemo, useState } from 'react'
import { useStore } from 'zustand'
import { t } from '../../messages'
import { Button, IconButton, Kbd } from '../../ui/Button'
import { TextInput } from '../../ui/fields'
import { chordLabel, chordOf } from '../shell/chords'
import { COMMAND_GROUPS, type Command } from '../shell/command'
import { commands } from '../shell/commands'
import { conflictsOf, keymapStore, keysOf, resetKeys, setKeys } from '../shell/keymap'
import { Note } from './parts'

const m = t.settings.keyboard

/** Waits for one chord. Escape and leaving give up. */
function Capture({ label, onChord, onEnd }: { label: string; onChord(chord: string): void; onEnd(): void }) {
  const onKey = (event: KeyboardEvent) => {
    if (event.key === 'Tab') return
    event.preventDefault()
    event.stopPropagation()
    const chord = chordOf(event.nativeEvent)
    if (chord === null) return
    if (chord !== 'Esc') onChord(chord)
    onEnd()
  }
  return (
    <button
      type="button"
      ref={(node) => node?.focus()}
      data-testid="key-capture"
      aria-label={m.pressFor(label)}
      title={m.cancel}
      onKeyDown={onKey}
      onBlur={onEnd}
      className="h-7 rounded-1 border border-accent bg-bg0 px-2 text-12 text-accent max-md:h-11"
    >
      {m.press}
    </button>
  )
}

function Row({ command, rivals }: { command: Command; rivals: readonly Command[] }) {
  const own = useStore(keymapStore)
  const [capturing, setCapturing] = useState(false)
  const keys = keysOf(command, own)
  return (
    <li data-testid={`keys-${command.id}`} className="border-b border-line/60 py-1">
      <div className="flex min-h-8 items-center gap-2">
        <span className="min-w-0 flex-1 text-13">{command.label}</span>
        {own[command.id] && (
          <IconButton label={m.ownReset(command.label)} onClick={() => setKeys(command.id, null)}>
            <RotateCcw size={13} aria-hidden />
          </IconButton>
        )}
        {keys.length === 0 && !capturing && <span className="text-12 text-fg3">{m.none}</span>}
        {keys.map((chord) => (
          <span key={chord} className="flex items-center">
            <Kbd>{chordLabel(chord)}</Kbd>
            <button
              type="button"
              aria-label={m.remove(chordLabel(chord), command.label)}
              onClick={() =>
                setKeys(
                  command.id,
                  keys.filter((other) => other !== chord),
                )
              }
              className="grid h-6 w-6 place-items-center rounded-1 text-fg3 hover:text-fg1 max-md:h-11 max-md:w-9"
            >
              <X size={12} aria-hidden />
            </button>
          </span>
        ))}
        {capturing ? (
          <Capture
            label={command.label}
            onChord={(chord) => !keys.includes(chord) && setKeys(command.id, [...keys, chord])}
            onEnd={() => setCapturing(false)}
          />
        ) : (
          <IconButton
            label={m.add(command.label)}
            className="max-md:h-11 max-md:w-11"
            onClick={() => setCapturing(true)}
          >
            <Plus size={14} aria-hidden />
          </IconButton>
        )}
      </div>
      {rivals.length > 0 && (
        <p className="flex items-center gap-1.5 pb-1 text-12 text-warn">
          <TriangleAlert size={13} className="shrink-0" aria-hidden />
          {m.conflict(rivals.map(({ label }) => label).join(', '))}
        </p>
      )}
    </li>
  )
}

/** Every command with its keys, which can be changed. */
export function KeyboardPage() {
  const own = useStore(keymapStore)
  const [query, setQuery] = useState('')
  const conflicts = useMemo(() => conflictsOf(commands, own), [own])
  const wanted = query.trim().toLowerCase()
  const shown = commands.filter(({ label }) => label.toLowerCase().includes(wanted))
  return (
    <>
      <Note>{m.intro}</Note>
      <div className="sticky -top-4 z-10 flex gap-2 bg-bg1 py-3">
        <div className="relative flex-1">
          <Search size={14} className="absolute top-1/2 left-2 -translate-y-1/2 text-fg3" aria-hidden />
          <TextInput
            type="search"
            aria-label={m.search}
            placeholder={m.search}
            className="w-full pl-7"
            value={query}
            onChange={(event) => setQuery(event.target.value)}
          />
        </div>
        <Button className="max-md:h-11" disabled={Object.keys(own).length === 0} onClick={resetKeys}>
          {m.resetAll}
        </Button>
      </div>
      {COMMAND_GROUPS.map((group) => {
        const rows = shown.filter((command) => command.group === group)
        if (rows.length === 0) return null
        return (
          <section key={group} className="mb-4">
            <h3 className="panel-title mb-1">{t.commands.groups[group]}</h3>
            <ul className="m-0 list-none p-0">
              {rows.map((command) => (
                <Row key={command.id} command={command} rivals={conflicts.get(command.id) ?? []} />
              ))}
            </ul>
          </section>
        )
      })}
    </>
  )
}
