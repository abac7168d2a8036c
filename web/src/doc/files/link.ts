import { LINK_KEY } from './address'
import { FileError, MAX_FILE_BYTES } from './json'

/** A file inside an address: deflated, and in the alphabet that addresses leave alone. */

export const MAX_LINK_CHARS = 8192

function base64url(bytes: Uint8Array): string {
  let binary = ''
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'))
  return Uint8Array.from(binary, (char) => char.charCodeAt(0))
}

async function through(bytes: Uint8Array<ArrayBuffer>, transform: CompressionStream | DecompressionStream) {
  const parts: Uint8Array[] = []
  let size = 0
  const reader = new Blob([bytes]).stream().pipeThrough(transform).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.length
    if (size > MAX_FILE_BYTES) {
      await reader.cancel()
      throw new FileError({ code: 'large', bytes: size })
    }
    parts.push(value)
  }
  const whole = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** The part of an address after `#`. It may be too long to share: see `MAX_LINK_CHARS`. */
export async function packLink(text: string): Promise<string> {
  const packed = await through(new TextEncoder().encode(text), new CompressionStream('deflate'))
  return `${LINK_KEY}=${base64url(packed)}`
}

export async function unpackLink(packed: string): Promise<string> {
  if (packed.length > MAX_LINK_CHARS) throw new FileError({ code: 'link' })
  try {
    return new TextDecoder().decode(await through(bytesOf(packed), new DecompressionStream('deflate')))
  } catch (cause) {
    if (cause instanceof FileError) throw cause
    throw new FileError({ code: 'link' })
  }
}
