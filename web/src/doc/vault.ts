import { createStore, del, delMany, get, keys, set, type UseStore } from 'idb-keyval'

/** The browser's own store of documents: the one being worked on, earlier states of it, and projects without a server. */

export const MAX_POINTS = 20

/** Why an earlier state was kept. */
export type PointReason = 'start' | 'time' | 'replaced' | 'other-tab'

export interface Point {
  id: string
  /** Milliseconds since 1970, like every time in here. */
  at: number
  reason: PointReason
  name: string
  takes: number
}

export interface Stored {
  at: number
  /** As it was stored: to be validated by whoever reads it. */
  doc: unknown
  /** Which named project it belongs to, and in what state. */
  binding: unknown
}

export interface KeptProject {
  name: string
  at: number
  text: string
}

const CURRENT = 'current'
const POINTS = 'points'
const ASIDE = 'unreadable'
const PROJECT = 'project:'
const pointKey = (id: string) => `point:${id}`

export class Vault {
  private opened: UseStore | null = null

  /** Opened at the first use, so that a browser that forbids it refuses a promise and not the page. */
  private get store(): UseStore {
    this.opened ??= createStore('scope', 'documents')
    return this.opened
  }

  async current(): Promise<Stored | null> {
    return (await get<Stored>(CURRENT, this.store)) ?? null
  }

  async keep(stored: Stored): Promise<void> {
    await set(CURRENT, stored, this.store)
  }

  /** Puts away what could not be read, for a version that can. */
  async setAside(stored: Stored): Promise<void> {
    await set(ASIDE, stored, this.store)
  }

  /** Earlier states, newest first. */
  async points(): Promise<Point[]> {
    return (await get<Point[]>(POINTS, this.store)) ?? []
  }

  async point(id: string): Promise<Stored | null> {
    return (await get<Stored>(pointKey(id), this.store)) ?? null
  }

  async addPoint(point: Point, stored: Stored): Promise<void> {
    const all = [point, ...(await this.points())]
    await set(pointKey(point.id), stored, this.store)
    await set(POINTS, all.slice(0, MAX_POINTS), this.store)
    await delMany(
      all.slice(MAX_POINTS).map(({ id }) => pointKey(id)),
      this.store,
    )
  }

  /** Makes room by giving up the older half of the earlier states; false when there is nothing to give up. */
  async makeRoom(): Promise<boolean> {
    const all = await this.points()
    if (all.length === 0) return false
    const kept = all.slice(0, Math.floor(all.length / 2))
    await delMany(
      all.slice(kept.length).map(({ id }) => pointKey(id)),
      this.store,
    )
    await set(POINTS, kept, this.store)
    return true
  }

  async projects(): Promise<KeptProject[]> {
    const names = (await keys<string>(this.store)).filter((key) => key.startsWith(PROJECT))
    const found = await Promise.all(names.map((key) => get<KeptProject>(key, this.store)))
    return found.filter((project) => project !== undefined).sort((a, b) => b.at - a.at)
  }

  async project(name: string): Promise<KeptProject | null> {
    return (await get<KeptProject>(PROJECT + name, this.store)) ?? null
  }

  async keepProject(project: KeptProject): Promise<void> {
    await set(PROJECT + project.name, project, this.store)
  }

  async removeProject(name: string): Promise<void> {
    await del(PROJECT + name, this.store)
  }
}
