import english from 'zod/v4/locales/en.js'
import type { z } from '../../api/zod'

/** Reading JSON that somebody else wrote: bounded, and with problems that say where they are. */

export const MAX_FILE_BYTES = 8 << 20
export const MAX_BLOCKS = 10_000
const MAX_DEPTH = 64

export type FileProblem =
  | { code: 'json'; line: number; column: number; found: string }
  | { code: 'field'; path: string; line: number | null; message: string }
  | { code: 'large'; bytes: number }
  | { code: 'blocks'; count: number }
  | { code: 'deep' }
  | { code: 'unknown' }
  | { code: 'version'; format: string; version: string }
  | { code: 'link' }

/** Why a file cannot be used. Nothing has been changed by finding out. */
export class FileError extends Error {
  constructor(readonly problem: FileProblem) {
    super(problem.code)
    this.name = 'FileError'
  }
}

export type Json = Record<string, unknown>
export type Path = readonly PropertyKey[]

export function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function positionOf(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset)
  const start = before.lastIndexOf('\n') + 1
  return { line: before.split('\n').length, column: offset - start + 1 }
}

class Fault extends Error {
  constructor(readonly offset: number) {
    super('fault')
  }
}

const NUMBER = /-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y
const STRING = /"(?:[^"\\\p{Cc}]|[\x7f-\x9f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy
const WORD = /true|false|null/y
const SPACE = /[ \t\r\n]*/y

/** Walks JSON text; only used to find a place in it, after the browser's own parser has said whether it is JSON. */
class Walker {
  private at = 0

  constructor(
    private readonly text: string,
    private readonly seen: (path: Path, offset: number) => void,
  ) {}

  walk(): void {
    this.value([])
    this.space()
    if (this.at < this.text.length) throw new Fault(this.at)
  }

  private space(): void {
    this.match(SPACE)
  }

  private match(pattern: RegExp): string | null {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text)?.[0] ?? null
    if (found !== null) this.at += found.length
    return found
  }

  private expect(char: string): void {
    this.space()
    if (this.text[this.at] !== char) throw new Fault(this.at)
    this.at += 1
  }

  private is(char: string): boolean {
    this.space()
    if (this.text[this.at] !== char) return false
    this.at += 1
    return true
  }

  private value(path: Path): void {
    this.space()
    if (path.length > MAX_DEPTH) throw new Fault(this.at)
    this.seen(path, this.at)
    if (this.is('{')) this.members(path)
    else if (this.is('[')) this.items(path)
    else if (this.match(STRING) === null && this.match(NUMBER) === null && this.match(WORD) === null) {
      throw new Fault(this.at)
    }
  }

  private members(path: Path): void {
    if (this.is('}')) return
    do {
      this.space()
      const key = this.match(STRING)
      if (key === null) throw new Fault(this.at)
      this.expect(':')
      this.value([...path, JSON.parse(key) as string])
    } while (this.is(','))
    this.expect('}')
  }

  private items(path: Path): void {
    if (this.is(']')) return
    let index = 0
    do {
      this.value([...path, index])
      index += 1
    } while (this.is(','))
    this.expect(']')
  }
}

/** Where the text stops being JSON. */
function faultOf(text: string): number {
  try {
    new Walker(text, () => undefined).walk()
  } catch (fault) {
    if (fault instanceof Fault) return fault.offset
  }
  return text.length
}

/** The line of the value at `path`, or of the innermost one around it that is there. */
export function lineOf(text: string, path: Path): number | null {
  let found: { depth: number; offset: number } | null = null
  try {
    new Walker(text, (other, offset) => {
      const inside = other.length <= path.length && other.every((key, i) => key === path[i])
      if (inside && (found === null || other.length > found.depth)) found = { depth: other.length, offset }
    }).walk()
  } catch {
    // What was found before the walk ended counts.
  }
  return found === null ? null : positionOf(text, (found as { offset: number }).offset).line
}

/** `prompts[3].startTime` */
export function pathText(path: Path): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? String(key) : `${text}.${String(key)}`),
    '',
  )
}

function deeper(value: unknown, left: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return left === 0 || Object.values(value).some((inner) => deeper(inner, left - 1))
}

/** Parses text into a value of bounded size and depth. */
export function parseJson(text: string): unknown {
  if (text.length > MAX_FILE_BYTES) throw new FileError({ code: 'large', bytes: text.length })
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    const offset = faultOf(text)
    const found = [...text.slice(offset, offset + 2)][0] ?? ''
    throw new FileError({ code: 'json', ...positionOf(text, offset), found })
  }
  if (deeper(value, MAX_DEPTH)) throw new FileError({ code: 'deep' })
  return value
}

/** `zod/mini` says only that something is wrong; files are told what. */
const explained = { error: english().localeError }

/** Checks a value against a schema; the problem names the field and its line in `text`. */
export function check<T>(schema: z.ZodMiniType<T>, value: unknown, text: string): T {
  const parsed = schema.safeParse(value, explained)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const path = issue?.path ?? []
  const message = (issue?.message ?? '').replace(/^Invalid input: /, '')
  throw new FileError({ code: 'field', path: pathText(path), line: lineOf(text, path), message })
}

/** Everything but the named keys; undefined when nothing is left. */
export function others(value: Json, known: readonly string[]): Json | undefined {
  const rest = Object.entries(value).filter(([key]) => !known.includes(key))
  return rest.length > 0 ? Object.fromEntries(rest) : undefined
}
