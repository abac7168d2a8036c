import { DECK_BANKS } from '../../doc/model'

export const BANK_LETTERS = Array.from({ length: DECK_BANKS }, (_, bank) => String.fromCharCode(65 + bank))
