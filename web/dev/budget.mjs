// What a browser must fetch before the page of `/` works: `npm run build` first. Fails above the budget.
import { readdirSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const BUDGET_KB = 250
const assets = new URL('../dist/assets/', import.meta.url)
const text = (name) => readFileSync(new URL(name, assets), 'utf8')
const matches = (source, pattern) => [...source.matchAll(pattern)].map(([, name]) => name)
const dynamic = (source) => matches(source, /import\([`"']\.\/([^`"']+\.js)/g)
const statics = (source) => matches(source, /(?:from|import)\s*["']\.\/([^"']+\.js)["']/g)

const [entry] = matches(readFileSync(new URL('../index.html', assets), 'utf8'), /assets\/([\w.-]+\.js)/g)
// The entry chooses between the page and the output window; the page is the larger of the two.
const pages = dynamic(text(entry)).sort((a, b) => text(b).length - text(a).length)
const needed = new Set()
const visit = (name) => {
  if (needed.has(name)) return
  needed.add(name)
  for (const next of statics(text(name))) visit(next)
}
visit(entry)
visit(pages[0])

const size = (name) => gzipSync(text(name), { level: 9 }).length / 1000
const total = [...needed].reduce((sum, name) => sum + size(name), 0)
const later = readdirSync(assets).filter((name) => name.endsWith('.js') && !needed.has(name))
console.log(
  `first ${total.toFixed(1)} kB of ${BUDGET_KB} (${needed.size} files, gzip), later ${later.reduce((sum, name) => sum + size(name), 0).toFixed(1)} kB`,
)
if (pages.length !== 2 || needed.size < 3) throw new Error('the built page has another shape than this script knows')
if (total > BUDGET_KB) {
  for (const name of needed) console.error(`${size(name).toFixed(1).padStart(8)} kB  ${name}`)
  process.exit(1)
}
