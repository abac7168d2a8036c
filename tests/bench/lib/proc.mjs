import { readdirSync, readFileSync } from 'node:fs'

/** Clock ticks per second of /proc; Linux reports user time in these whatever the kernel's own rate is. */
const TICKS = 100

function stat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return null
  }
}

/** The process and everything it started. */
export function family(pid) {
  const children = new Map()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const parent = Number(stat(name)?.[1])
    children.set(parent, [...(children.get(parent) ?? []), Number(name)])
  }
  const found = [pid]
  for (let index = 0; index < found.length; index++) found.push(...(children.get(found[index]) ?? []))
  return found
}

/** CPU seconds used by one process, or by it and everything it ever started. */
export function cpuSeconds(pid, { descendants = false } = {}) {
  let ticks = 0
  for (const each of descendants ? family(pid) : [pid]) {
    const fields = stat(each)?.map(Number)
    // User and system time; then the same of those children that have ended.
    if (fields) ticks += fields[11] + fields[12] + (descendants ? fields[13] + fields[14] : 0)
  }
  return ticks / TICKS
}

function statusField(pid, name) {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(text.match(new RegExp(`^${name}:\\s+(\\d+)`, 'm'))?.[1])
}

/** Resident memory in MiB. */
export const rssMib = (pid) => statusField(pid, 'VmRSS') / 1024

export const threads = (pid) => statusField(pid, 'Threads')

export const openFiles = (pid) => readdirSync(`/proc/${pid}/fd`).length

/** Jiffies of the whole machine: used and idle, summed over cores. */
function machine() {
  const fields = readFileSync('/proc/stat', 'utf8').split('\n')[0].trim().split(/\s+/).slice(1, 9).map(Number)
  const idle = fields[3] + fields[4]
  return { idle, total: fields.reduce((sum, each) => sum + each, 0) }
}

/** How many cores' worth of work the machine did since, and how much of that was not ours. */
export function machineMeter() {
  const before = machine()
  // Processes that end take their times with them, so they are looked at all the while.
  const seen = new Map()
  const look = () => {
    for (const pid of family(process.pid)) {
      const at = cpuSeconds(pid)
      const { first = at } = seen.get(pid) ?? {}
      seen.set(pid, { first, last: Math.max(at, seen.get(pid)?.last ?? 0) })
    }
  }
  look()
  // What starts later counts from nothing.
  const started = new Set(seen.keys())
  const timer = setInterval(look, 1000)
  return () => {
    clearInterval(timer)
    look()
    const now = machine()
    const cores = readFileSync('/proc/stat', 'utf8').match(/^cpu\d+/gm).length
    const total = now.total - before.total
    const used = ((total - (now.idle - before.idle)) / total) * cores
    let ours = 0
    for (const [pid, { first, last }] of seen) ours += last - (started.has(pid) ? first : 0)
    return { used, others: Math.max(0, used - (ours * TICKS * cores) / total) }
  }
}
