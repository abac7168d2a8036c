import { createStore } from 'zustand/vanilla'
import { Scope } from './engine/scope'

/** The one engine of the page. */
export const scope = new Scope()

export type Tab = 'deck' | 'takes' | 'source' | 'tune'

export interface UiState {
  hud: boolean
  logs: boolean
  sheet: boolean
  models: boolean
  /** The drawer that is open on a medium window. */
  drawer: 'source' | 'inspector' | null
  tab: Tab
  singleKeys: boolean
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
type Prefs = Pick<UiState, 'hud' | 'singleKeys' | 'leftWidth' | 'rightWidth'>
const DEFAULTS: Prefs = { hud: false, singleKeys: true, leftWidth: 280, rightWidth: 320 }

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
  drawer: null,
  tab: 'deck',
  notice: null,
  problem: null,
  announcement: '',
  editingSlot: null,
}))

uiStore.subscribe(({ hud, singleKeys, leftWidth, rightWidth }, before) => {
  const same =
    hud === before.hud &&
    singleKeys === before.singleKeys &&
    leftWidth === before.leftWidth &&
    rightWidth === before.rightWidth
  if (!same) localStorage.setItem(PREFS_KEY, JSON.stringify({ hud, singleKeys, leftWidth, rightWidth }))
})

let noticeId = 0

/** A passing remark about something that went well or needs no decision. */
export function notify(text: string, action?: Notice['action']): void {
  noticeId += 1
  uiStore.setState({ notice: { id: noticeId, text, action } })
}

/** Something failed while the stream goes on; a repetition changes nothing. */
export function report(text: string): void {
  const { problem } = uiStore.getState()
  if (problem?.text === text) return
  noticeId += 1
  uiStore.setState({ problem: { id: noticeId, text } })
}

export function announce(text: string): void {
  uiStore.setState({ announcement: text })
}
