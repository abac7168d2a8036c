import type { SourceSettings } from '../doc/model'

/** The last few clips that were the input, so that going back to one needs no second look at a disk or a server. */

const MAX_CLIPS = 3

export class Clips {
  private readonly kept = new Map<string, Blob>()

  constructor(private readonly fetchAsset: (asset: string) => Promise<Blob>) {}

  set(clip: string, data: Blob): void {
    this.kept.delete(clip)
    this.kept.set(clip, data)
    for (const oldest of this.kept.keys()) {
      if (this.kept.size <= MAX_CLIPS) break
      this.kept.delete(oldest)
    }
  }

  known(clip: string | null): Blob | null {
    return clip === null ? null : (this.kept.get(clip) ?? null)
  }

  /** The clip that a source names, from here or else from the server; null where it is in neither. */
  async find({ clip, asset }: SourceSettings): Promise<Blob | null> {
    const here = this.known(clip)
    if (clip === null || here || asset === undefined) return here
    const data = await this.fetchAsset(asset).catch(() => null)
    if (data) this.set(clip, data)
    return data
  }
}
