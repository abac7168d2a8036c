import { beforeEach, describe, expect, it } from 'vitest'
import type { Command } from './command'
import { commandsFor, conflictsOf, keymapStore, keysOf, resetKeys, setKeys } from './keymap'

const command = (id: string, ...keys: string[]): Command => ({
  id,
  label: id,
  group: 'view',
  keys,
  run: () => undefined,
})
const commands = [command('record', 'R'), command('delete', 'Del'), command('clear', 'Del'), command('stop')]

beforeEach(resetKeys)

describe('keys of commands', () => {
  it('are the defaults until the user chooses others, and again when the choice is taken back', () => {
    setKeys('record', ['Shift+R'])
    expect(commandsFor('R', commands, keymapStore.getState())).toEqual([])
    expect(commandsFor('Shift+R', commands, keymapStore.getState()).map(({ id }) => id)).toEqual(['record'])
    setKeys('record', null)
    expect(keysOf(command('record', 'R'), keymapStore.getState())).toEqual(['R'])
  })
  it('can be none', () => {
    setKeys('record', [])
    expect(commandsFor('R', commands, keymapStore.getState())).toEqual([])
  })
  it('survive a reload', () => {
    setKeys('stop', ['Mod+.'])
    expect(JSON.parse(localStorage.getItem('scope.keys') ?? '')).toEqual({ stop: ['Mod+.'] })
  })
})

describe('conflicts', () => {
  it('are not what shares a key from the start', () => {
    expect(conflictsOf(commands, {}).size).toBe(0)
  })
  it('are shown at both commands', () => {
    const conflicts = conflictsOf(commands, { stop: ['R'] })
    expect(conflicts.get('stop')?.map(({ id }) => id)).toEqual(['record'])
    expect(conflicts.get('record')?.map(({ id }) => id)).toEqual(['stop'])
    expect(conflicts.has('delete')).toBe(false)
  })
})
