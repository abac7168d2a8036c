import { report } from '../../app'
import { linkIn } from '../../doc/files/address'
import { t } from '../../messages'

/** Where files come in: what reads and writes them is fetched with the first of them. */

type Files = typeof import('./files')

async function withFiles(work: (files: Files) => Promise<void>): Promise<void> {
  let files: Files
  try {
    files = await import('./files')
  } catch (cause) {
    report(t.project.failed(cause instanceof Error ? cause.message : String(cause)))
    return
  }
  await work(files)
}

export const importFile = (file: File) => withFiles((files) => files.importFile(file))
export const shareLink = () => withFiles((files) => files.shareLink())
const importText = (name: string, text: string) => withFiles((files) => files.importText(name, text))
const importLink = (packed: string) => withFiles((files) => files.importLink(packed))

export function pickFile(): void {
  const input = document.createElement('input')
  input.type = 'file'
  input.accept = '.json,application/json'
  input.addEventListener('change', () => {
    const [file] = input.files ?? []
    if (file) void importFile(file)
  })
  input.click()
}

export function looksLikeDocument(file: File): boolean {
  return file.type === 'application/json' || /\.json$/i.test(file.name)
}

/** Whether a text is JSON with what every kind of document has. */
function isDocument(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && ('format' in value || 'prompts' in value)
  } catch {
    return false
  }
}

/** Pasted text that is meant to be imported: a document, or a link to one. Into a box only a document is not pasted. */
export function importPasted(text: string, intoBox: boolean): boolean {
  const trimmed = text.trim()
  if (intoBox && !isDocument(trimmed)) return false
  const packed = /^https?:\/\/\S+$/.test(trimmed) ? linkIn(trimmed) : null
  if (packed) void importLink(packed)
  else if (/^\{/.test(trimmed)) void importText(t.project.import.pasted, text)
  else return false
  return true
}

/** The address may carry a document; it is offered like a file, and taken out of the address. */
export function importAddress(): void {
  const packed = linkIn(location.hash)
  if (!packed) return
  history.replaceState(history.state, '', location.pathname + location.search)
  void importLink(packed)
}
