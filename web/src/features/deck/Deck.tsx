import { Plus, X } from 'lucide-react'
import { type MouseEvent, useState } from 'react'
import { useStore } from 'zustand'
import { notify, scope, uiStore } from '../../app'
import { editDoc, undo } from '../../doc/history'
import { DECK_SLOTS, type WirePrompt } from '../../doc/model'
import { bankFilled, promptLabel, samePrompts, setDraft, storeInDeck, switchBank, wirePrompts } from '../../doc/prompts'
import { changeDoc, docStore } from '../../doc/store'
import { useAir, useDoc } from '../../hooks'
import { t } from '../../messages'
import { cx } from '../../ui/cx'
import { commandTarget } from '../control/ids'
import { BANK_LETTERS } from './banks'
import { carries, pickUp, putDown } from './carry'

function store(slot: number, prompts: readonly WirePrompt[]): void {
  editDoc(t.deck.stored(slot + 1), storeInDeck(slot, prompts))
  notify(t.deck.stored(slot + 1))
}

function clear(slot: number): void {
  editDoc(t.deck.cleared(slot + 1), storeInDeck(slot, null))
  notify(t.deck.cleared(slot + 1), { label: t.timeline.undo, run: () => void undo() })
}

function press(event: MouseEvent, slot: number): void {
  const doc = docStore.getState()
  const prompts = doc.deck[slot]
  if (!prompts) {
    const draft = wirePrompts(doc.draft)
    if (draft.length === 0) notify(t.prompt.empty)
    else store(slot, draft)
  } else if (event.shiftKey) {
    changeDoc(setDraft(prompts))
    uiStore.setState({ editingSlot: slot })
    document.querySelector<HTMLElement>('[data-testid="prompt-input-0"]')?.focus()
  } else {
    scope.recall(prompts)
  }
}

function Slot({ slot }: { slot: number }) {
  const prompts = useDoc((doc) => doc.deck[slot] ?? null)
  const active = useAir()
  const [over, setOver] = useState(false)
  const onAir = useDoc((doc) => {
    const own = doc.deck[slot]
    return own ? samePrompts(own, doc.onAir) : false
  })
  const waits = useStore(scope.music.quantiser.store, ({ waiting }) =>
    waiting && prompts ? samePrompts(prompts, waiting.take.prompts) : false,
  )
  const label = prompts ? promptLabel(prompts) : null
  const lit = active && onAir
  return (
    <div className="group/slot relative min-w-0">
      <button
        type="button"
        data-testid={`deck-slot-${slot + 1}`}
        data-map={commandTarget(`deck.${slot + 1}`)}
        data-state={label === null ? 'empty' : waits ? 'waiting' : lit ? 'on-air' : 'stored'}
        onClick={(event) => press(event, slot)}
        draggable={prompts !== null}
        onDragStart={(event) => prompts && pickUp(event, prompts)}
        onDragOver={(event) => {
          if (!carries(event)) return
          event.preventDefault()
          setOver(true)
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          if (!carries(event)) return
          event.preventDefault()
          setOver(false)
          const carried = putDown(event)
          if (carried) store(slot, carried)
        }}
        className={cx(
          'flex h-10 w-full min-w-0 items-center gap-2 rounded-1 border px-2 text-left text-12 transition-colors duration-100 max-md:h-16 max-md:text-13',
          over && 'outline-2 outline-accent',
          label === null
            ? 'border-dashed border-line text-fg3 hover:border-edge hover:text-fg2'
            : waits
              ? 'border-accent border-dashed bg-accent/10 text-fg1'
              : lit
                ? 'border-ok bg-ok/10 text-fg1'
                : 'border-line bg-bg2 text-fg1 hover:border-edge hover:bg-bg3',
        )}
      >
        <span className="sr-only">{t.deck.slot}</span>
        <span className={cx('num text-11', lit ? 'text-ok' : 'text-fg3')}>{slot + 1}</span>
        <span className="min-w-0 flex-1 leading-tight [overflow-wrap:anywhere] line-clamp-2">
          {label ?? <span className="sr-only">{t.deck.emptySlot}</span>}
        </span>
        {label === null && <Plus size={14} className="opacity-70" aria-hidden />}
      </button>
      {label !== null && (
        <button
          type="button"
          aria-label={t.deck.clear(slot + 1)}
          onClick={() => clear(slot)}
          className="absolute -top-1.5 -right-1.5 hidden h-6 w-6 place-items-center rounded-full border border-edge bg-bg3 text-fg2 group-focus-within/slot:grid group-hover/slot:grid hover:text-fg1"
        >
          <X size={12} aria-hidden />
        </button>
      )}
    </div>
  )
}

/** Goes through the banks of the deck. */
export function BankSwitch() {
  const bank = useDoc((doc) => doc.bank)
  const filled = useDoc((doc) => BANK_LETTERS.map((_, index) => bankFilled(doc, index)))
  return (
    <fieldset aria-label={t.deck.banks} className="m-0 flex shrink-0 gap-0.5 border-0 p-0">
      {BANK_LETTERS.map((letter, index) => (
        <button
          key={letter}
          type="button"
          data-testid={`deck-bank-${letter}`}
          aria-label={t.deck.bank(letter, filled[index] ?? false)}
          aria-pressed={index === bank}
          onClick={() => changeDoc(switchBank(index))}
          className={cx(
            'num relative h-6 w-6 rounded-[3px] border text-11 font-semibold max-md:h-11 max-md:w-11',
            index === bank
              ? 'border-accent bg-accent/15 text-accent'
              : 'border-line text-fg3 hover:border-edge hover:text-fg1',
          )}
        >
          {letter}
          {filled[index] && index !== bank && (
            <span className="absolute top-0.5 right-0.5 h-1 w-1 rounded-full bg-fg2" aria-hidden />
          )}
        </button>
      ))}
    </fieldset>
  )
}

export function Deck({ layout = 'row' }: { layout?: 'row' | 'pads' }) {
  return (
    <section
      aria-label={t.deck.title}
      title={t.deck.help}
      className={cx('grid shrink-0 gap-1.5 bg-bg1 px-3', layout === 'row' ? 'grid-cols-8 pb-3' : 'grid-cols-2 py-3')}
    >
      {layout === 'pads' && (
        <div className="col-span-2">
          <BankSwitch />
        </div>
      )}
      {Array.from({ length: DECK_SLOTS }, (_, slot) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a slot is its number
        <Slot key={slot} slot={slot} />
      ))}
    </section>
  )
}
