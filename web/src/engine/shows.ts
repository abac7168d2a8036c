import { createStore } from 'zustand/vanilla'
import { type Score, scoreSchema } from '../api/scores'
import { newId } from '../doc/model'

/** What was performed, as the server noted it, so that it can be made again frame for frame. */

export interface Show {
  id: string
  /** On air until now, ended while the page was open, or from a file. */
  origin: 'air' | 'ended' | 'file'
  /** Of the file it came from. */
  name: string
  /** Milliseconds since 1970. */
  at: number
  score: Score
  /** As it came, letter by letter. */
  text: string
}

export const MAX_SHOWS = 10

export class Shows {
  readonly store = createStore<{ items: readonly Show[] }>(() => ({ items: [] }))

  constructor(private readonly read: (sessionId: string) => Promise<string>) {}

  /** Asks for what a session has been told so far; what is on air is one show, however often it is asked. */
  async note(sessionId: string, origin: 'air' | 'ended'): Promise<Show | null> {
    const text = await this.read(sessionId)
    const parsed = scoreSchema.safeParse(JSON.parse(text))
    const before = this.store.getState().items.find((show) => show.origin === 'air')
    if (!parsed.success || parsed.data.frames === 0) return null
    return this.add({ origin, name: '', score: parsed.data, text }, before)
  }

  addFile(name: string, score: Score, text: string): Show {
    return this.add({ origin: 'file', name, score, text })
  }

  /** Nothing is on air: what was noted of it stays, as a show that has ended. */
  ended(): void {
    this.store.setState(({ items }) => ({
      items: items.map((show) => (show.origin === 'air' ? { ...show, origin: 'ended' } : show)),
    }))
  }

  remove(id: string): void {
    this.store.setState(({ items }) => ({ items: items.filter((show) => show.id !== id) }))
  }

  private add(content: Omit<Show, 'id' | 'at'>, replaced?: Show): Show {
    const show = { ...content, id: replaced?.id ?? newId(), at: Date.now() }
    const others = this.store.getState().items.filter(({ id }) => id !== show.id)
    this.store.setState({ items: [show, ...others].slice(0, MAX_SHOWS) })
    return show
  }
}

/** Why playing a score again cannot make the very same frames, as a code or in the server's words; null where it can. */
export function inexact({ score }: Show): { code: 'seconds' | 'unknown' } | { words: string } | null {
  // Moments in seconds are met at the next chunk, which is elsewhere on a machine of another speed.
  if (score.changes.some(({ seconds }) => typeof seconds === 'number')) return { code: 'seconds' }
  if (score.exact) return null
  return score.why_not ? { words: score.why_not } : { code: 'unknown' }
}
