import { assetUrl } from '../../api/client'
import type { Asset } from '../../api/types'
import { notify, scope } from '../../app'
import { editDoc, undo } from '../../doc/history'
import { docStore } from '../../doc/store'
import { type ChainNode, sectionsOf } from '../../engine/chain'
import { extensionOf } from '../../engine/library'
import { t } from '../../messages'
import { effectiveValue, type Field } from '../../schema/plan'
import { openVideo } from '../source/openVideo'

/** What media can be used for, which only the schemas of pipelines know. */

/** More would hardly be seen. */
export const MAX_LISTED = 8

export interface Use {
  node: ChainNode
  field: Field
}

/** The paths that a parameter names. */
export function pathsOf(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).filter(
    (path): path is string => typeof path === 'string' && path !== '',
  )
}

export function fileName(path: string): string {
  return path.split(/[\\/]/).at(-1) ?? path
}

/** The parameters of the chain that take such a file. */
export function usesOf(chain: readonly ChainNode[], kind: Asset['type']): Use[] {
  return chain.flatMap((node) =>
    sectionsOf(node)
      .flatMap((section) => section.fields)
      .filter((field) => field.asset?.kind === kind)
      .map((field) => ({ node, field })),
  )
}

export function setParamStep(node: ChainNode, key: string, value: unknown, label: string): void {
  editDoc(label, (doc) => ({ ...doc, params: { ...doc.params, [node.id]: { ...doc.params[node.id], [key]: value } } }))
}

/** A parameter's value with one more file: the only one, or the last of a list. */
export function withPath(field: Field, value: unknown, path: string): unknown {
  if (!field.asset?.list) return path
  return [...pathsOf(value).filter((other) => other !== path), path].slice(-MAX_LISTED)
}

export function giveTo({ node, field }: Use, asset: Asset): void {
  const own = docStore.getState().params[node.id] ?? {}
  const value = withPath(field, effectiveValue(node.pipeline, node.mode, own, field.key), asset.path)
  const text = t.library.media.used(asset.name, field.label)
  setParamStep(node, field.key, value, text)
  notify(text, { label: t.library.undo, run: () => void undo() })
}

/** Whether a parameter of any pipeline names the file. */
export function isUsed(path: string, params: Readonly<Record<string, Record<string, unknown>>>): boolean {
  return Object.values(params).some((own) => Object.values(own).some((value) => pathsOf(value).includes(path)))
}

/** Plays a clip of the server's as the input. */
export async function playAsInput(name: string, url: string, asset?: string): Promise<void> {
  await playFile(name, await (await fetch(url)).blob(), asset)
}

/** `asset` is where the file lies on the server, if it does. */
export async function playFile(name: string, data: Blob, asset?: string): Promise<void> {
  await openVideo(new File([data], name, { type: data.type || 'video/mp4', lastModified: Date.now() }), asset)
  const { uploadError } = scope.source.store.getState()
  notify(uploadError ? t.source.errors[uploadError].title : t.library.media.inputSet(name))
}

export const assetFile = ({ path }: Asset) => ({ name: fileName(path), url: assetUrl(path) })

/** A pasted picture has no name of its own. */
export function namedPaste(files: readonly File[], now: Date): File[] {
  const stamp = now.toISOString().slice(0, 19).replaceAll(/[:T]/g, '-')
  return files.map((file, index) => {
    if (!/^image\.\w+$/.test(file.name)) return file
    const name = `${t.library.media.pasted}-${stamp}${index > 0 ? `-${index + 1}` : ''}.${extensionOf(file.name)}`
    return new File([file], name, { type: file.type })
  })
}
