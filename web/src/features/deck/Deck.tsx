import { Plus, X } from 'lucide-react'
import type { MouseEvent } from 'react'
import { notify, scope, uiStore } from '../../app'
import { promptLabel, samePrompts, setDraft, storeInDeck, wirePrompts } from '../../doc/prompts'
import { changeDoc, docStore } from '../../doc/store'
import { useAir, useDoc } from '../../hooks'
import { t } from '../../messages'
import { cx } from '../../ui/cx'

function press(event: MouseEvent, slot: number): void {
  const doc = docStore.getState()
  const prompts = doc.deck[slot]
  if (!prompts) {
    const draft = wirePrompts(doc.draft)
    if (draft.length === 0) notify(t.prompt.empty)
    else {
      changeDoc(storeInDeck(slot, draft))
      notify(t.deck.stored(slot + 1))
    }
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
  const onAir = useDoc((doc) => {
    const own = doc.deck[slot]
    return own ? samePrompts(own, doc.onAir) : false
  })
  const label = prompts ? promptLabel(prompts) : null
  const lit = active && onAir
  return (
    <div className="group/slot relative min-w-0">
      <button
        type="button"
        data-testid={`deck-slot-${slot + 1}`}
        data-state={label === null ? 'empty' : lit ? 'on-air' : 'stored'}
        onClick={(event) => press(event, slot)}
        className={cx(
          'flex h-10 w-full min-w-0 items-center gap-2 rounded-1 border px-2 text-left text-12 transition-colors duration-100 max-md:h-16 max-md:text-13',
          label === null
            ? 'border-dashed border-line text-fg3 hover:border-edge hover:text-fg2'
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
          onClick={() => changeDoc(storeInDeck(slot, null))}
          className="absolute -top-1.5 -right-1.5 hidden h-6 w-6 place-items-center rounded-full border border-edge bg-bg3 text-fg2 group-focus-within/slot:grid group-hover/slot:grid hover:text-fg1"
        >
          <X size={12} aria-hidden />
        </button>
      )}
    </div>
  )
}

export function Deck({ layout = 'row' }: { layout?: 'row' | 'pads' }) {
  return (
    <section
      aria-label={t.deck.title}
      title={t.deck.help}
      className={cx('grid shrink-0 gap-1.5 bg-bg1 px-3', layout === 'row' ? 'grid-cols-8 pb-3' : 'grid-cols-2 py-3')}
    >
      {Array.from({ length: 8 }, (_, slot) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a slot is its number
        <Slot key={slot} slot={slot} />
      ))}
    </section>
  )
}
