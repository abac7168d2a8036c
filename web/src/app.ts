import { createStore } from 'zustand/vanilla'
import { remember } from './engine/memory'
import { Scope } from './engine/scope'
import { addProblem } from './problems'

/** The one engine of the page. */
export const scope = new Scope()

export type Tab = 'deck' | 'takes' | 'source' | 'tune'

export type SettingsPage =
  | 'general'
  | 'video'
  | 'controllers'
  | 'keyboard'
  | 'storage'
  | 'accounts'
  | 'plugins'
  | 'about'

export interface UiState {
  hud: boolean
  logs: boolean
  sheet: boolean
  models: boolean
  palette: boolean
  settings: SettingsPage | null
  /** What failed and was said, until it is dismissed. */
  center: boolean
  /** Controls can be picked to be mapped to a controller. */
  mapping: boolean
  tempo: boolean
  /** The drawer that is open on a medium window. */
  drawer: 'source' | 'inspector' | null
  tab: Tab
  singleKeys: boolean
  /** Nothing moves that need not, whatever the system says. */
  lessMotion: boolean
  leftWidth: number
  rightWidth: number
  notice: Notice | null
  /** The last failure that left the stream running. */
  problem: Notice | null
  /** What assistive technology hears next, politely. */
  announcement: string
  /** The deck slot being edited in the prompt box. */
  editingSlot: number | null
}

export interface Notice {
  id: number
  text: string
  action?: { label: string; run(): void } | undefined
}

const PREFS_KEY = 'scope.ui'
const DEFAULTS = { hud: false, singleKeys: true, lessMotion: false, leftWidth: 280, rightWidth: 320 }
type Prefs = typeof DEFAULTS
const PREFS = Object.keys(DEFAULTS) as (keyof Prefs)[]

function readPrefs(): Prefs {
  try {
    return { ...DEFAULTS, ...(JSON.parse(localStorage.getItem(PREFS_KEY) ?? '{}') as Partial<Prefs>) }
  } catch {
    return DEFAULTS
  }
}

export const uiStore = createStore<UiState>(() => ({
  ...readPrefs(),
  logs: false,
  sheet: false,
  models: false,
  palette: false,
  settings: null,
  center: false,
  mapping: false,
  tempo: false,
  drawer: null,
  tab: 'deck',
  notice: null,
  problem: null,
  announcement: '',
  editingSlot: null,
}))

uiStore.subscribe((ui, before) => {
  if (PREFS.every((key) => ui[key] === before[key])) return
  remember(PREFS_KEY, JSON.stringify(Object.fromEntries(PREFS.map((key) => [key, ui[key]]))))
})

let noticeId = 0

/** A passing remark about something that went well or needs no decision. */
export function notify(text: string, action?: Notice['action']): void {
  noticeId += 1
  uiStore.setState({ notice: { id: noticeId, text, action } })
}

/** Something failed while the stream goes on; a repetition changes nothing. */
export function report(text: string): void {
  addProblem('warning', text)
  const { problem } = uiStore.getState()
  if (problem?.text === text) return
  noticeId += 1
  uiStore.setState({ problem: { id: noticeId, text } })
}

export function announce(text: string): void {
  uiStore.setState({ announcement: text })
}
