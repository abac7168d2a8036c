import { Check, Search } from 'lucide-react'
import { Dialog } from 'radix-ui'
import { Fragment, type KeyboardEvent, useEffect, useId, useMemo, useRef, useState } from 'react'
import { uiStore } from '../../app'
import { useUi } from '../../hooks'
import { t } from '../../messages'
import { Kbd } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { useFocusBack } from '../../ui/focusBack'
import { allEntries, type Found, recentEntries, rememberEntry, search } from './entries'

const PAGE = 8

/** Where a key leads in a list of results; null for keys that lead nowhere. */
function moved(key: string, active: number, last: number): number | null {
  switch (key) {
    case 'ArrowDown':
      return active >= last ? 0 : active + 1
    case 'ArrowUp':
      return active <= 0 ? Math.max(0, last) : active - 1
    case 'PageDown':
      return Math.max(0, Math.min(last, active + PAGE))
    case 'PageUp':
      return Math.max(0, active - PAGE)
    default:
      return null
  }
}

/** A label with the characters that answer the query set off. */
function Label({ text, at }: { text: string; at: readonly number[] }) {
  const hit = new Set(at)
  const runs: { text: string; hit: boolean; from: number }[] = []
  for (const [i, character] of [...text].entries()) {
    const last = runs.at(-1)
    if (last && last.hit === hit.has(i)) last.text += character
    else runs.push({ text: character, hit: hit.has(i), from: i })
  }
  return (
    <span className="min-w-0 flex-1 truncate">
      {runs.map((run) => (
        <Fragment key={run.from}>
          {run.hit ? <mark className="bg-transparent font-semibold text-accent">{run.text}</mark> : run.text}
        </Fragment>
      ))}
    </span>
  )
}

function Results({
  listId,
  found,
  active,
  onChoose,
}: {
  listId: string
  found: readonly Found[]
  active: number
  onChoose(entry: Found): void
}) {
  if (found.length === 0) {
    return (
      <p role="status" className="px-4 py-8 text-center text-13 text-fg3">
        {t.palette.nothing}
      </p>
    )
  }
  return (
    <div
      id={listId}
      role="listbox"
      aria-label={t.palette.results}
      className="max-h-[min(420px,56vh)] overflow-y-auto p-1.5"
    >
      {found.map((entry, i) => (
        <Fragment key={entry.id}>
          {entry.group !== found[i - 1]?.group && (
            <div className="panel-title px-2.5 pt-2 pb-1" aria-hidden>
              {entry.group}
            </div>
          )}
          {/* biome-ignore lint/a11y/useFocusableInteractive: the box above keeps the focus and names the active option */}
          {/* biome-ignore lint/a11y/useKeyWithClickEvents: the same; it hears the keys */}
          <div
            id={`${listId}-${i}`}
            role="option"
            aria-selected={i === active}
            data-testid="palette-entry"
            onClick={() => onChoose(entry)}
            className={cx(
              'flex min-h-9 items-center gap-3 rounded-1 px-2.5 text-13 max-md:min-h-11',
              i === active ? 'bg-bg3 text-fg1 shadow-[inset_2px_0_0_var(--color-accent)]' : 'text-fg2 hover:bg-bg2',
            )}
          >
            <Label text={entry.label} at={entry.at} />
            {entry.current && <Check size={14} className="text-accent" aria-label={t.palette.current} />}
            <span className="flex gap-1 max-md:hidden" aria-hidden>
              {entry.keys.map((key) => (
                <Kbd key={key}>{key}</Kbd>
              ))}
            </span>
          </div>
        </Fragment>
      ))}
    </div>
  )
}

function Finder({ onChoose }: { onChoose(entry: Found): void }) {
  const [query, setQuery] = useState('')
  const [active, setActive] = useState(0)
  const listId = useId()
  const entries = useMemo(allEntries, [])
  const recent = useMemo(recentEntries, [])
  const found = useMemo(() => search(entries, query, recent), [entries, query, recent])
  const last = found.length - 1
  const list = useRef<HTMLDivElement>(null)
  useEffect(() => {
    list.current?.querySelector(`[id="${listId}-${active}"]`)?.scrollIntoView({ block: 'nearest' })
  }, [active, listId])
  const onKey = (event: KeyboardEvent) => {
    const chosen = found[active]
    const next = moved(event.key, active, last)
    if (next !== null) {
      event.preventDefault()
      setActive(next)
    } else if (event.key === 'Enter' && chosen && !event.nativeEvent.isComposing) {
      event.preventDefault()
      onChoose(chosen)
    }
  }
  return (
    <div ref={list}>
      <div className="flex h-12 items-center gap-2.5 border-b border-line px-3.5">
        <Search size={16} className="shrink-0 text-fg3" aria-hidden />
        <input
          type="text"
          role="combobox"
          aria-label={t.palette.title}
          aria-expanded={found.length > 0}
          aria-controls={found.length > 0 ? listId : undefined}
          aria-activedescendant={found[active] ? `${listId}-${active}` : undefined}
          aria-autocomplete="list"
          data-testid="palette-input"
          placeholder={t.palette.placeholder}
          spellCheck={false}
          autoComplete="off"
          value={query}
          onChange={(event) => {
            setQuery(event.target.value)
            setActive(0)
          }}
          onKeyDown={onKey}
          className="h-full min-w-0 flex-1 bg-transparent text-14 text-fg1 outline-none"
        />
        <Kbd>Esc</Kbd>
      </div>
      <Results listId={listId} found={found} active={active} onChoose={onChoose} />
    </div>
  )
}

/** One box for everything that can be done, by a few letters of its name. */
export function PalettePanel() {
  const open = useUi((ui) => ui.palette)
  const chosen = useRef<Found | null>(null)
  const focus = useFocusBack()
  const choose = (entry: Found) => {
    chosen.current = entry
    rememberEntry(entry.id)
    uiStore.setState({ palette: false })
  }
  return (
    <Dialog.Root open={open} onOpenChange={(next) => uiStore.setState({ palette: next })}>
      <Dialog.Portal>
        <Dialog.Overlay className="fixed inset-0 z-40 bg-black/50" />
        <Dialog.Content
          data-testid="palette"
          aria-describedby={undefined}
          // What was chosen finds the focus where it was before, as if its key had been pressed there.
          onOpenAutoFocus={focus.remember}
          onCloseAutoFocus={(event) => {
            focus.giveBack(event)
            const entry = chosen.current
            chosen.current = null
            if (entry) setTimeout(entry.run)
          }}
          className="fixed top-[12vh] left-1/2 z-40 w-[min(600px,94vw)] -translate-x-1/2 overflow-hidden rounded-2 border border-edge bg-bg1 shadow-2xl shadow-black/70 outline-none max-md:top-2"
        >
          <Dialog.Title className="sr-only">{t.palette.title}</Dialog.Title>
          <Finder onChoose={choose} />
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  )
}
