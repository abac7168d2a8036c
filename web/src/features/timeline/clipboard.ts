import { readBlocks, writeBlocks } from '../../doc/blockText'
import type { Block } from '../../doc/model'
import * as actions from './actions'
import { canCopy, canPaste } from './focus'
import { view } from './view'

/**
 * Blocks on the clipboard of the system: with the keys by the browser's own events, which need no permission and work on
 * every address; from menus by the asynchronous interface, where there is one.
 */

const TYPE = 'application/x-scope-blocks+json'
const TYPING = 'input, textarea, select, [contenteditable="true"]'

const inText = (event: Event) => event.target instanceof Element && event.target.closest(TYPING) !== null

function take(event: ClipboardEvent, run: () => void): void {
  if (event.defaultPrevented || !event.clipboardData || inText(event) || !canCopy()) return
  run()
  const text = writeBlocks(view().copies)
  event.clipboardData.setData('text/plain', text)
  event.clipboardData.setData(TYPE, text)
  event.preventDefault()
}

function give(event: ClipboardEvent): void {
  if (event.defaultPrevented || inText(event) || !canPaste()) return
  const data = event.clipboardData
  const text = data?.getData(TYPE) || data?.getData('text/plain') || ''
  const blocks = readBlocks(text)
  // What cannot be read stays for others; an empty clipboard has not heard of what was copied here.
  if (!blocks && (text !== '' || (data?.files.length ?? 0) > 0)) return
  event.preventDefault()
  actions.paste(blocks)
}

export function startClipboard(): void {
  document.addEventListener('copy', (event) => take(event, actions.copy))
  document.addEventListener('cut', (event) => take(event, actions.cut))
  document.addEventListener('paste', give, { capture: true })
}

/** Puts blocks on the clipboard without a key of the browser's; where that is not allowed, they are copied within the page. */
export async function offer(blocks: readonly Block[]): Promise<void> {
  await navigator.clipboard?.writeText(writeBlocks(blocks)).catch(() => undefined)
}

/** The blocks on the clipboard, if the browser lets the page look. */
export async function found(): Promise<Block[] | null> {
  const text = await navigator.clipboard?.readText?.().catch(() => '')
  return text ? readBlocks(text) : null
}
