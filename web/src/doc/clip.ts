import type { ProjectDoc, SourceSettings } from './model'

/** The clip that is the input, as documents name it. Pure. */

export interface Input {
  name: string
  /** Its path on the server. */
  asset: string
}

/** A clip's name in the document: what it is called, and what tells it from another of that name. */
export const clipId = (name: string, mark: string | number) => `${name}#${encodeURIComponent(mark)}`

export const clipName = (clip: string) => clip.slice(0, clip.lastIndexOf('#'))

/** With another clip: one of this browser alone, one that lies on the server, or the built-in one. */
export function withClip(source: SourceSettings, clip: string | null, asset?: string): SourceSettings {
  const { asset: _, ...rest } = source
  return { ...rest, clip, ...(clip !== null && asset !== undefined ? { asset } : {}) }
}

/** The input that goes with a document; null for what lies in one browser only, for a camera, and for the built-in clip. */
export function inputOf({ source }: Pick<ProjectDoc, 'source'>): Input | null {
  const { kind, clip, asset } = source
  return kind === 'file' && clip !== null && asset !== undefined ? { name: clipName(clip), asset } : null
}

/** The source with the input of a document in it. A camera or a screen that somebody has chosen stays. */
export function sourceWith(source: SourceSettings, input: Input | null): SourceSettings {
  if (!input || source.kind !== 'file' || source.asset === input.asset) return source
  return withClip(source, clipId(input.name, input.asset), input.asset)
}
