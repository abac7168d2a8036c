import { del, get, set } from 'idb-keyval'

/** The user's own input clip, kept in the browser so that a reload brings it back. */

const KEY = 'scope.clip'
const KEEP_LIMIT_BYTES = 256 * 1024 * 1024

export async function keepClip(clip: Blob): Promise<void> {
  if (clip.size > KEEP_LIMIT_BYTES) await del(KEY).catch(() => undefined)
  else await set(KEY, clip).catch(() => undefined)
}

export async function keptClip(): Promise<Blob | null> {
  const clip = await get<Blob>(KEY).catch(() => undefined)
  return clip instanceof Blob ? clip : null
}
