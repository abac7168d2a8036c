import { Layers } from 'lucide-react'
import { Popover } from 'radix-ui'
import { type KeyboardEvent, type RefObject, useRef, useState } from 'react'
import { notify } from '../../app'
import { editDoc } from '../../doc/history'
import { findHistory, firstFreeSlot, setText, storeInDeck } from '../../doc/prompts'
import { changeDoc, docStore } from '../../doc/store'
import { useDoc } from '../../hooks'
import { t } from '../../messages'
import { IconButton } from '../../ui/Button'
import { TextInput } from '../../ui/fields'
import { pickUp } from '../deck/carry'
import { historyUi } from './historyUi'

const inputOf = (box: number) => document.querySelector<HTMLElement>(`[data-testid="prompt-input-${box}"]`)

function toDeck(text: string): void {
  const slot = firstFreeSlot(docStore.getState())
  if (slot === null) {
    notify(t.deck.full)
    return
  }
  editDoc(t.deck.stored(slot + 1), storeInDeck(slot, [{ text, weight: 100 }]))
  notify(t.deck.stored(slot + 1))
}

function List({ box }: { box: number }) {
  const history = useDoc((doc) => doc.history)
  const [query, setQuery] = useState('')
  const list = useRef<HTMLUListElement>(null)
  const found = findHistory(history, query)
  const choose = (text: string | undefined) => {
    if (text === undefined) return
    changeDoc(setText(box, text))
    historyUi.setState({ box: null })
  }
  /** The arrows go through the list, from the search box and back. */
  const walk = (event: KeyboardEvent, from: number) => {
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return
    event.preventDefault()
    const rows = [...(list.current?.querySelectorAll<HTMLElement>('[data-testid="history-item"]') ?? [])]
    const to = from + (event.key === 'ArrowDown' ? 1 : -1)
    if (to < 0) document.querySelector<HTMLElement>('[data-testid="history-search"]')?.focus()
    else rows[Math.min(to, rows.length - 1)]?.focus()
  }
  return (
    <>
      <TextInput
        type="search"
        data-testid="history-search"
        aria-label={t.prompt.historySearch}
        placeholder={t.prompt.historySearch}
        value={query}
        onChange={(event) => setQuery(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === 'Enter') {
            event.preventDefault()
            choose(found[0])
          } else walk(event, -1)
        }}
      />
      {found.length === 0 && <p className="px-1 py-2 text-12 text-fg3">{t.prompt.historyNone}</p>}
      <ul ref={list} aria-label={t.prompt.history} className="m-0 min-h-0 list-none overflow-y-auto p-0">
        {found.map((text, index) => (
          <li key={text} className="flex items-center gap-1">
            <button
              type="button"
              data-testid="history-item"
              draggable
              onDragStart={(event) => pickUp(event, [{ text, weight: 100 }])}
              onClick={() => choose(text)}
              onKeyDown={(event) => walk(event, index)}
              title={text}
              className="min-h-7 min-w-0 flex-1 truncate rounded-[3px] px-2 text-left text-12 -outline-offset-2 hover:bg-bg3 max-md:min-h-11"
            >
              {text}
            </button>
            <IconButton label={t.prompt.toDeck(text)} className="max-md:h-11 max-md:w-11" onClick={() => toDeck(text)}>
              <Layers size={14} aria-hidden />
            </IconButton>
          </li>
        ))}
      </ul>
    </>
  )
}

/** The list of earlier prompts, over the button that opens it. */
export default function HistoryList({ box, anchor }: { box: number; anchor: RefObject<HTMLElement | null> }) {
  return (
    <Popover.Root open onOpenChange={(open) => !open && historyUi.setState({ box: null })}>
      <Popover.Anchor virtualRef={anchor as RefObject<HTMLElement>} />
      <Popover.Portal>
        <Popover.Content
          side="top"
          align="end"
          sideOffset={6}
          collisionPadding={8}
          aria-label={t.prompt.history}
          className="z-40 flex max-h-80 w-[min(440px,94vw)] flex-col gap-2 rounded-2 border border-edge bg-bg2 p-2 shadow-xl shadow-black/50"
          onCloseAutoFocus={(event) => {
            event.preventDefault()
            inputOf(box)?.focus()
          }}
          onInteractOutside={(event) => {
            // The button closes it by itself.
            if (anchor.current?.contains(event.target as Node)) event.preventDefault()
          }}
        >
          <List box={box} />
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  )
}
