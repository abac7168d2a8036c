import { notify, scope, uiStore } from '../../app'
import { DECK_SLOTS } from '../../doc/model'
import { docStore } from '../../doc/store'
import { t } from '../../messages'
import { openModels } from '../models/ModelsSheet'

/** What keys and buttons can do. One object per command, so that every way to call it does the same. */
export interface Command {
  id: string
  label: string
  /** As in `KeyboardEvent.key`; letters are lower case, a leading "Shift+" asks for the shift key. */
  key: string
  run(): void
}

export const stageElement = { current: null as HTMLElement | null }

export async function toggleFullscreen(): Promise<void> {
  if (document.fullscreenElement) await document.exitFullscreen().catch(() => undefined)
  else await stageElement.current?.requestFullscreen().catch(() => undefined)
}

export async function takeScreenshot(): Promise<void> {
  notify((await scope.screenshot()) ? t.notices.screenshot : t.notices.noPicture)
}

export function toggleRecording(): void {
  if (scope.onScreen) void scope.toggleRecording()
  else notify(t.notices.noStream)
}

export function openOutput(): void {
  if (!scope.output.open()) notify(t.output.blocked)
}

function onOutput(run: () => void): void {
  if (scope.output.store.getState().open) run()
  else notify(t.output.needed)
}

export function takeSlot(slot: number): void {
  const prompts = docStore.getState().deck[slot]
  if (prompts) scope.recall(prompts)
}

export const commands: readonly Command[] = [
  { id: 'play', label: t.commands.play, key: ' ', run: () => scope.togglePlay() },
  { id: 'record', label: t.commands.record, key: 'r', run: toggleRecording },
  { id: 'screenshot', label: t.commands.screenshot, key: 'p', run: () => void takeScreenshot() },
  { id: 'fullscreen', label: t.commands.fullscreen, key: 'f', run: () => void toggleFullscreen() },
  { id: 'output', label: t.commands.output, key: 'o', run: openOutput },
  { id: 'black', label: t.commands.black, key: 'b', run: () => onOutput(() => scope.output.toggleBlack()) },
  { id: 'freeze', label: t.commands.freeze, key: 'Shift+f', run: () => onOutput(() => scope.output.toggleFreeze()) },
  { id: 'hud', label: t.commands.hud, key: 'h', run: () => uiStore.setState(({ hud }) => ({ hud: !hud })) },
  {
    id: 'models',
    label: t.commands.models,
    key: 'm',
    run: () => (uiStore.getState().models ? uiStore.setState({ models: false }) : openModels()),
  },
  { id: 'logs', label: t.commands.logs, key: '`', run: () => uiStore.setState(({ logs }) => ({ logs: !logs })) },
  { id: 'sheet', label: t.commands.sheet, key: '?', run: () => uiStore.setState({ sheet: true }) },
  {
    id: 'prompt',
    label: t.commands.prompt,
    key: '/',
    run: () => document.querySelector<HTMLElement>('[data-testid="prompt-input-0"]')?.focus(),
  },
]

const TYPING = 'input, textarea, select, [contenteditable="true"]'
const OWN_SPACE =
  'button, a, summary, [role="button"], [role="switch"], [role="radio"], [role="tab"], [role="combobox"]'

/** Whether a key press belongs to the element it happened on. */
function taken(event: KeyboardEvent): boolean {
  const target = event.target instanceof Element ? event.target : null
  if (!target) return false
  if (target.closest(TYPING) || target.closest('[role="dialog"], [role="listbox"]')) return true
  return (event.key === ' ' || event.key === 'Enter') && target.closest(OWN_SPACE) !== null
}

export function handleKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return
  if (!uiStore.getState().singleKeys && event.key !== '?') return
  if (taken(event)) return
  const slot = event.shiftKey ? Number.NaN : Number(event.key) - 1
  if (Number.isInteger(slot) && slot >= 0 && slot < DECK_SLOTS) {
    takeSlot(slot)
    return
  }
  const lower = event.key.length === 1 ? event.key.toLowerCase() : event.key
  const names = event.shiftKey ? [`Shift+${lower}`, ...(/[a-z]/.test(lower) ? [] : [lower])] : [lower]
  const command = commands.find(({ key }) => names.includes(key))
  if (!command) return
  event.preventDefault()
  command.run()
}
