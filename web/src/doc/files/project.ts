import { z } from '../../api/zod'
import { docSchema, type ProjectDoc } from '../model'
import { closeLive, endOf } from '../timeline'
import { check, FileError, isRecord, type Json, MAX_BLOCKS } from './json'

/** Our own file: the whole document. The same object is what the server keeps as a project. */

export const PROJECT_FORMAT = 'scope-project'
const PROJECT_VERSION = 1

const projectSchema = z.looseObject({
  format: z.literal(PROJECT_FORMAT),
  version: z.number(),
  document: docSchema,
})

export function isProject(value: Json): boolean {
  return value.format === PROJECT_FORMAT
}

/** A block that was live when the document was put away ends where it had got to. */
export function settled(doc: ProjectDoc, nowMs = 0): ProjectDoc {
  return { ...doc, blocks: closeLive(doc.blocks, endOf(doc.blocks, nowMs)) }
}

export function readProject(value: Json, text: string): ProjectDoc {
  if (value.version !== PROJECT_VERSION) {
    throw new FileError({ code: 'version', format: 'project', version: String(value.version) })
  }
  const { document } = value
  const count = isRecord(document) && Array.isArray(document.blocks) ? document.blocks.length : 0
  if (count > MAX_BLOCKS) throw new FileError({ code: 'blocks', count })
  return settled(check(projectSchema, value, text).document)
}

export function writeProject(doc: ProjectDoc, now: string, nowMs = 0): Json {
  return { format: PROJECT_FORMAT, version: PROJECT_VERSION, savedAt: now, document: settled(doc, nowMs) }
}
