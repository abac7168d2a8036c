import { createStore } from 'zustand/vanilla'
import type { Api } from '../api/client'
import { ApiError } from '../api/http'
import type { Asset, AssetKind, Lora, LoraProgress } from '../api/types'
import { type Capture, Captures } from './captures'
import { sessionError } from './errors'
import { Shelf } from './shelf'
import { sleep } from './timing'

/** What the server keeps for this user's pictures: media, adapters. And what was taken from the picture meanwhile. */

export const ASSET_TYPES: Readonly<Record<AssetKind, readonly string[]>> = {
  image: ['png', 'jpg', 'jpeg', 'webp', 'bmp'],
  video: ['mp4', 'webm', 'mov', 'mkv', 'avi'],
  audio: ['wav', 'mp3', 'flac', 'ogg'],
}
const ALL_TYPES = Object.values(ASSET_TYPES).flat()
/** The folders of what was recorded and photographed. */
export const FOLDERS: Readonly<Record<Capture['kind'], string>> = { recording: 'recordings', screenshot: 'screenshots' }
/** Waits for a recording whose session has ended. */
const FILING_MS = [700, 1500, 4000, 10_000, 20_000]
export const LORA_TYPE = 'safetensors'

export const extensionOf = (name: string) => name.split('.').at(-1)?.toLowerCase() ?? ''

/** What a file would be among the media; null for what the server does not keep. */
export function kindOf(name: string): AssetKind | null {
  const extension = extensionOf(name)
  return (Object.keys(ASSET_TYPES) as AssetKind[]).find((kind) => ASSET_TYPES[kind].includes(extension)) ?? null
}

const named = (text: string, query: string) =>
  query
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.toLowerCase().includes(word))

/** The media of a kind whose names have all words of a query. */
export function findAssets(items: readonly Asset[], query: string, kind: AssetKind | 'all'): Asset[] {
  return items.filter(
    (item) => (kind === 'all' || item.type === kind) && named(`${item.folder ?? ''} ${item.name}`, query.trim()),
  )
}

export function findLoras(items: readonly Lora[], query: string): Lora[] {
  const text = (item: Lora) => [item.folder, item.name, item.provenance?.repo_id, ...item.trigger_words].join(' ')
  return items.filter((item) => named(text(item), query.trim()))
}

/** The page that an adapter came from. */
export function pageOf({ provenance }: Lora): string | null {
  if (provenance?.repo_id) return `https://huggingface.co/${provenance.repo_id}`
  if (provenance?.model_id) return `https://civitai.com/models/${encodeURIComponent(provenance.model_id)}`
  const url = provenance?.url ?? null
  return url?.startsWith('https://') ? url : null
}

/** An adapter that is being installed from an address, or could not be. */
export interface Install {
  url: string
  progress: LoraProgress | null
  /** Status 0 for a failure that is no answer. */
  problem: { code: string; status: number; message: string } | null
}

type LibraryApi = Pick<
  Api,
  'assets' | 'uploadAsset' | 'removeAsset' | 'loras' | 'uploadLora' | 'removeLora' | 'installLora' | 'cancelLora'
>

export class Library {
  readonly assets: Shelf<Asset>
  readonly loras: Shelf<Lora>
  readonly captures = new Captures()
  readonly install = createStore<{ now: Install | null }>(() => ({ now: null }))

  constructor(private readonly api: LibraryApi) {
    this.assets = new Shelf<Asset>({
      list: () => api.assets(),
      upload: (name, data, options) => api.uploadAsset(name, data, options),
      remove: ({ path }, keepalive) => api.removeAsset(path, keepalive),
      refuse: ({ name }) => (ALL_TYPES.includes(extensionOf(name)) ? null : 'wrong_type'),
    })
    this.loras = new Shelf<Lora>({
      list: () => api.loras(),
      upload: (name, data, options) => api.uploadLora(name, data, options),
      remove: ({ name }, keepalive) => api.removeLora(name, keepalive),
      refuse: ({ name }) => (extensionOf(name) === LORA_TYPE ? null : 'wrong_type'),
    })
  }

  /** Puts what was made here into a folder of the media; what the server does not take is kept in the page. */
  async file(kind: Capture['kind'], name: string, data: Blob): Promise<boolean> {
    try {
      this.assets.add(await this.api.uploadAsset(`${FOLDERS[kind]}/${name}`, data))
      return true
    } catch {
      this.captures.add(kind, name, data)
      return false
    }
  }

  /** A recording that the server files by itself in a moment; null when it does not come. */
  async awaitRecording(): Promise<Asset | null> {
    const known = new Set(this.assets.store.getState().items.map(({ path }) => path))
    for (const wait of FILING_MS) {
      await sleep(wait)
      await this.assets.refresh()
      const found = this.assets.store.getState().items.find(({ folder, path }) => {
        return folder === FOLDERS.recording && !known.has(path)
      })
      if (found) return found
    }
    return null
  }

  /** Installs an adapter from an address; null when it failed, which `install` explains. */
  async installFrom(url: string): Promise<Lora | null> {
    this.install.setState({ now: { url, progress: null, problem: null } })
    try {
      const lora = await this.api.installLora(url)
      this.loras.add(lora)
      this.install.setState({ now: null })
      return lora
    } catch (cause) {
      const status = cause instanceof ApiError ? cause.status : 0
      if (cause instanceof ApiError && cause.code === 'cancelled') {
        this.install.setState({ now: null })
        return null
      }
      this.install.setState({ now: { url, progress: null, problem: { ...sessionError(cause), status } } })
      return null
    }
  }

  /** Ends the installation that goes on, as soon as its name is known. */
  async cancelInstall(): Promise<void> {
    const { now } = this.install.getState()
    // One that has just ended by itself is no longer there to be ended.
    if (now?.progress) await this.api.cancelLora(now.progress.filename).catch(() => undefined)
  }

  /** The server tells how far an installation is. */
  heard(progress: LoraProgress): void {
    this.install.setState(({ now }) => (now && !now.problem ? { now: { ...now, progress } } : {}))
  }

  forgetInstall(): void {
    this.install.setState({ now: null })
  }

  flush(): void {
    this.assets.flush()
    this.loras.flush()
  }
}
