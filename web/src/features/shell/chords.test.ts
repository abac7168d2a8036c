import { describe, expect, it } from 'vitest'
import { chordLabel, chordOf, isSingle } from './chords'

const press = (key: string, held: string[] = [], code = '') =>
  chordOf({
    key,
    code,
    ctrlKey: held.includes('ctrl'),
    metaKey: held.includes('meta'),
    altKey: held.includes('alt'),
    shiftKey: held.includes('shift'),
  })

describe('chordOf', () => {
  it('names a key by what it types, and modifiers in one order', () => {
    expect(press('r')).toBe('R')
    expect(press('F', ['shift'])).toBe('Shift+F')
    expect(press('Z', ['shift', 'ctrl'])).toBe('Mod+Shift+Z')
    expect(press(' ')).toBe('Space')
    expect(press('ArrowLeft', ['shift'])).toBe('Shift+Left')
    expect(press('Enter', ['alt'])).toBe('Alt+Enter')
  })
  it('takes Command and Control for the same', () => {
    expect(press('k', ['meta'])).toBe(press('k', ['ctrl']))
  })
  it('does not ask for Shift where the layout needs it to type the character', () => {
    expect(press('?', ['shift'])).toBe('?')
    expect(press('+', ['shift'])).toBe('Plus')
  })
  it('is nothing for a modifier alone', () => {
    expect(press('Shift', ['shift'])).toBeNull()
    expect(press('Control', ['ctrl'])).toBeNull()
  })
  it('knows a letter that Alt turned into another character', () => {
    expect(press('µ', ['alt'], 'KeyM')).toBe('Alt+M')
  })
})

it('tells single characters, which can be switched off, from keys that nobody types by accident', () => {
  expect(['R', 'Shift+F', '?', 'Space', 'Plus', '1'].every(isSingle)).toBe(true)
  expect(['Mod+K', 'Alt+Enter', 'F1', 'Left', 'Shift+Left', 'Del', 'Mod+Shift+Z'].some(isSingle)).toBe(false)
})

it('shows keys as they stand on the keyboard', () => {
  expect(chordLabel('Mod+Shift+Z', false)).toBe('Ctrl+Shift+Z')
  expect(chordLabel('Mod+Plus', false)).toBe('Ctrl++')
  expect(chordLabel('Mod+Shift+Left', true)).toBe('⌘⇧←')
})
