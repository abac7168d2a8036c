import { ApiError, request } from './http'
import { z } from './zod'

/** Named projects on the server, and what it can say about files from elsewhere. */

const ROOT = '/api/v1/projects'
const at = (name: string) => `${ROOT}/${encodeURIComponent(name)}`

const entrySchema = z.looseObject({
  name: z.string(),
  bytes: z.catch(z.number(), 0),
  modified: z.catch(z.string(), ''),
})
export type ProjectEntry = z.infer<typeof entrySchema>
const listSchema = z.looseObject({ projects: z.array(entrySchema) })

const lorasSchema = z.looseObject({ lora_files: z.array(z.looseObject({ name: z.string(), path: z.string() })) })
export type LoraEntry = z.infer<typeof lorasSchema>['lora_files'][number]

/** What a writer expects to replace: a state it has read, nothing at all, or whatever is there. */
export type Expected = { tag: string } | 'nothing' | 'anything'

function conditions(expected: Expected): Record<string, string> {
  if (expected === 'anything') return {}
  return expected === 'nothing' ? { 'If-None-Match': '*' } : { 'If-Match': expected.tag }
}

async function read<T>(schema: z.ZodMiniType<T>, response: Promise<Response>): Promise<T> {
  return schema.parse(await (await response).json())
}

export const projectsApi = {
  async list(): Promise<ProjectEntry[]> {
    return (await read(listSchema, request(ROOT))).projects
  },
  async read(name: string): Promise<{ text: string; tag: string | null }> {
    const response = await request(at(name))
    return { text: await response.text(), tag: response.headers.get('ETag') }
  },
  /** Answers the tag of the new state. */
  async write(name: string, content: unknown, expected: Expected): Promise<string | null> {
    const response = await request(at(name), { method: 'PUT', json: content, headers: conditions(expected) })
    return response.headers.get('ETag')
  },
  async remove(name: string): Promise<void> {
    await request(at(name), { method: 'DELETE' })
  },
  /** The adapters on the server; null from one that cannot say. */
  async loras(): Promise<LoraEntry[] | null> {
    try {
      return (await read(lorasSchema, request('/api/v1/loras'))).lora_files
    } catch {
      return null
    }
  },
}
export type ProjectsApi = typeof projectsApi

export function isConflict(cause: unknown): boolean {
  return cause instanceof ApiError && cause.status === 412
}

export function isMissing(cause: unknown): boolean {
  return cause instanceof ApiError && cause.status === 404
}
