import { writeFileSync } from 'node:fs'
import { family } from './proc.mjs'

/** Linux shares the processor between sessions of processes (autogroups) first; this is the weight of a session. */
const NICE = -20

/** Puts everything we have started, and ourselves, ahead of other work on this machine. Needs root. */
export function putAhead() {
  for (const pid of family(process.pid)) {
    try {
      writeFileSync(`/proc/${pid}/autogroup`, `${NICE}\n`)
    } catch (error) {
      // One that has just ended needs nothing; changes of a session already changed may be refused for a moment.
      if (!['ENOENT', 'ESRCH', 'EAGAIN'].includes(error.code)) throw error
    }
  }
}
