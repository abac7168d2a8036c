import { readFileSync } from 'node:fs'
import { drop } from './project-views.mjs'

/** Drops a document on the page and confirms what it would change. */
export async function imports(s, name, file) {
  await drop(s, name, JSON.stringify(file))
  await s.tid('import-dialog').waitFor()
  await s.tid('import-confirm').click()
  await s.tid('import-dialog').waitFor({ state: 'detached' })
}

/** What the page writes into a file. */
export async function exported(s, format = 'timeline') {
  await s.page.keyboard.press('Control+e')
  const [download] = await Promise.all([s.page.waitForEvent('download'), s.tid(`export-${format}`).click()])
  await s.tid('export-dialog').waitFor({ state: 'detached' })
  return { name: download.suggestedFilename(), file: JSON.parse(readFileSync(await download.path(), 'utf8')) }
}
