import { announce, notify, scope, uiStore } from '../../app'
import { editDoc } from '../../doc/history'
import { firstFreeSlot, promptLabel, storeInDeck, wirePrompts } from '../../doc/prompts'
import { docStore } from '../../doc/store'
import { t } from '../../messages'
import type { Command } from '../shell/command'
import { openHistory } from './historyUi'

export function takeDraft(hard: boolean): void {
  if (!scope.takeDraft(hard)) {
    notify(t.prompt.empty)
    return
  }
  announceTake()
}

/** Says what has become of a take: it is on air, or waits for its beat. */
export function announceTake(): void {
  const { waiting } = scope.music.quantiser
  if (waiting) announce(t.tempo.waitingFor(promptLabel(waiting.take.prompts), t.tempo.gridNames[waiting.grid]))
  else announce(t.notices.took(promptLabel(docStore.getState().onAir)))
}

/** Ctrl+Enter: back into the slot being edited, else into the first free one. */
export function storeDraft(): void {
  const doc = docStore.getState()
  const prompts = wirePrompts(doc.draft)
  const slot = uiStore.getState().editingSlot ?? firstFreeSlot(doc)
  if (prompts.length === 0) notify(t.prompt.empty)
  else if (slot === null) notify(t.deck.full)
  else {
    editDoc(t.deck.stored(slot + 1), storeInDeck(slot, prompts))
    uiStore.setState({ editingSlot: null })
    notify(t.deck.stored(slot + 1))
  }
}

export const promptCommands: readonly Command[] = [
  {
    id: 'prompt',
    label: t.commands.prompt,
    group: 'prompt',
    keys: ['/'],
    run: () => document.querySelector<HTMLElement>('[data-testid="prompt-input-0"]')?.focus(),
  },
  { id: 'take', label: t.commands.take, group: 'prompt', run: () => takeDraft(false) },
  { id: 'hardCut', label: t.commands.hardCut, group: 'prompt', run: () => takeDraft(true) },
  { id: 'history', label: t.prompt.history, group: 'prompt', run: () => void openHistory(0) },
  { id: 'storeDraft', label: t.commands.storeDraft, group: 'prompt', run: storeDraft },
]
