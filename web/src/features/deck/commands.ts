import { scope } from '../../app'
import { DECK_SLOTS } from '../../doc/model'
import { switchBank } from '../../doc/prompts'
import { changeDoc, docStore } from '../../doc/store'
import { t } from '../../messages'
import type { Command } from '../shell/command'
import { BANK_LETTERS } from './banks'

export function takeSlot(slot: number): void {
  const prompts = docStore.getState().deck[slot]
  if (prompts) scope.recall(prompts)
}

const slots = Array.from(
  { length: DECK_SLOTS },
  (_, slot): Command => ({
    id: `deck.${slot + 1}`,
    label: t.commands.deckSlot(slot + 1),
    group: 'deck',
    keys: [String(slot + 1)],
    run: () => takeSlot(slot),
  }),
)

const banks = BANK_LETTERS.map(
  (letter, bank): Command => ({
    id: `deck.bank.${letter}`,
    label: t.commands.deckBank(letter),
    group: 'deck',
    keys: [`Alt+${bank + 1}`],
    run: () => changeDoc(switchBank(bank)),
  }),
)

export const deckCommands: readonly Command[] = [...slots, ...banks]
