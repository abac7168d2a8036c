import { beforeAll, describe, expect, it } from 'vitest'
import { docSchema, newDoc } from '../../doc/model'
import { docStore } from '../../doc/store'
import type { Command } from './command'

let commands: readonly Command[] = []

beforeAll(async () => {
  // Commands bring the engine with them, which asks its videos for frames.
  HTMLVideoElement.prototype.requestVideoFrameCallback ??= () => 0
  ;({ commands } = await import('./commands'))
})

describe('the keys of all commands', () => {
  it('are shared only with what acts inside the timeline', () => {
    const block = {
      id: 'a',
      startMs: 0,
      endMs: 1000,
      prompts: [{ text: 'a', weight: 100 }],
      transition: null,
      cut: 'soft',
      color: 1,
    }
    docStore.setState(docSchema.parse({ ...newDoc(), blocks: [block] }), true)
    const byKey = new Map<string, string[]>()
    for (const command of commands) {
      for (const key of command.keys ?? []) byKey.set(key, [...(byKey.get(key) ?? []), command.id])
    }
    const shared = [...byKey].filter(([, ids]) => ids.length > 1)
    // With the focus elsewhere, one command at most is left of each.
    const left = shared.map(([key, ids]) => [
      key,
      ids.filter((id) => commands.find((command) => command.id === id)?.when?.() ?? true),
    ])
    expect(left.filter(([, ids]) => (ids?.length ?? 0) > 1)).toEqual([])
    expect(shared.map(([key]) => key).sort()).toEqual(['L', 'M'])
  })

  it('have names of their own', () => {
    const ids = commands.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
  })
})
