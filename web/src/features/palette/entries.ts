import { notify, scope } from '../../app'
import { editDoc, undo } from '../../doc/history'
import { promptLabel } from '../../doc/prompts'
import { docStore } from '../../doc/store'
import { mainPipelines } from '../../engine/catalog'
import { t } from '../../messages'
import { takeSlot } from '../deck/commands'
import { openSettings, SETTINGS_PAGES } from '../settings/commands'
import { chordLabel } from '../shell/chords'
import { COMMAND_GROUPS } from '../shell/command'
import { commands } from '../shell/commands'
import { keymapStore, keysOf } from '../shell/keymap'
import { fuzzy } from './fuzzy'

/** What the palette offers, and what it finds. */

export interface Entry {
  id: string
  group: string
  label: string
  keys: readonly string[]
  /** It is so already. */
  current?: boolean
  run(): void
}

export interface Found extends Entry {
  /** Which characters of the label answer the query. */
  at: readonly number[]
}

function choosePipeline(id: string, name: string): void {
  const label = t.palette.switched(name)
  editDoc(label, (doc) => ({ ...doc, pipelineId: id }))
  notify(label, { label: t.palette.undo, run: () => void undo() })
}

/** Everything that can be done now. Deck slots stand with what is in them, instead of as mere commands. */
export function allEntries(): Entry[] {
  const own = keymapStore.getState()
  const doc = docStore.getState()
  const { pipelines } = scope.catalog.store.getState()
  const keys = (command: { id: string; keys?: readonly string[] }) =>
    keysOf(command, own).map((chord) => chordLabel(chord))
  const doable = COMMAND_GROUPS.flatMap((group) => commands.filter((command) => command.group === group))
    .filter(({ group, id, when }) => group !== 'deck' && id !== 'palette' && (!when || when()))
    .map((command) => ({
      id: command.id,
      group: t.commands.groups[command.group],
      label: command.label,
      keys: keys(command),
      run: command.run,
    }))
  const deck = doc.deck.flatMap((prompts, slot) => {
    if (!prompts) return []
    const id = `deck.${slot + 1}`
    const label = t.palette.slot(slot + 1, promptLabel(prompts))
    return [{ id, group: t.deck.title, label, keys: keys({ id, keys: [String(slot + 1)] }), run: () => takeSlot(slot) }]
  })
  const choices = mainPipelines(pipelines).map(({ id, name }) => ({
    id: `pipeline.${id}`,
    group: t.palette.pipelines,
    label: t.palette.pipeline(name),
    keys: [],
    current: id === doc.pipelineId,
    run: () => choosePipeline(id, name),
  }))
  const pages = SETTINGS_PAGES.map((page) => ({
    id: `settings.${page}`,
    group: t.settings.title,
    label: t.palette.settings(t.settings.pages[page]),
    keys: [],
    run: () => openSettings(page),
  }))
  return [...doable, ...deck, ...choices, ...pages]
}

/** The best answers first; without a query what was used last, then everything in its order. */
export function search(entries: readonly Entry[], query: string, recent: readonly string[]): Found[] {
  if (query.trim() === '') {
    const last = recent.flatMap((id) => entries.find((entry) => entry.id === id) ?? [])
    const others = entries.filter((entry) => !last.includes(entry))
    return [
      ...last.map((entry) => ({ ...entry, group: t.palette.recent, at: [] })),
      ...others.map((entry) => ({ ...entry, at: [] })),
    ]
  }
  return entries
    .flatMap((entry) => {
      const own = fuzzy(query, entry.label)
      if (own) return [{ found: { ...entry, at: own.at }, score: own.score }]
      // The name of its group helps to find it, but counts less.
      const wide = fuzzy(query, `${entry.label} ${entry.group}`)
      return wide
        ? [{ found: { ...entry, at: wide.at.filter((i) => i < entry.label.length) }, score: wide.score - 8 }]
        : []
    })
    .sort((a, b) => b.score - a.score)
    .map(({ found }) => found)
}

const RECENT_KEY = 'scope.recent'
const KEEP = 4

export function recentEntries(): string[] {
  try {
    const read: unknown = JSON.parse(localStorage.getItem(RECENT_KEY) ?? '[]')
    return Array.isArray(read) ? read.filter((id) => typeof id === 'string') : []
  } catch {
    return []
  }
}

export function rememberEntry(id: string): void {
  const next = [id, ...recentEntries().filter((other) => other !== id)].slice(0, KEEP)
  localStorage.setItem(RECENT_KEY, JSON.stringify(next))
}
