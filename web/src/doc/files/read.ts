import { type Score as ExactScore, SCORE_FORMAT, SCORE_VERSION, scoreSchema } from '../../api/scores'
import type { ProjectDoc } from '../model'
import { check, FileError, type FileProblem, isRecord, MAX_FILE_BYTES, parseJson } from './json'
import { isProject, readProject } from './project'
import type { Score } from './score'
import { isTimeline, readTimeline } from './timeline'
import { isWorkflow, readWorkflow } from './workflow'

export type FileContent =
  | { kind: 'timeline'; version: string; score: Score }
  | { kind: 'workflow'; version: string; score: Score }
  | { kind: 'project'; version: string; document: ProjectDoc }
  /** What a server noted of a show; no document. */
  | { kind: 'exact'; score: ExactScore; text: string }

/** What can become the document of the page. */
export type DocumentContent = Exclude<FileContent, { kind: 'exact' }>

export type ReadResult = { ok: true; content: FileContent } | { ok: false; problem: FileProblem }

function read(text: string): FileContent {
  const value = parseJson(text)
  if (!isRecord(value)) throw new FileError({ code: 'unknown' })
  if (isProject(value)) return { kind: 'project', version: String(value.version), document: readProject(value, text) }
  if (isWorkflow(value)) {
    return { kind: 'workflow', version: String(value.format_version), score: readWorkflow(value, text) }
  }
  if (value.format === SCORE_FORMAT) {
    const version = String(value.format_version)
    if (version !== SCORE_VERSION) throw new FileError({ code: 'version', format: 'score', version })
    return { kind: 'exact', score: check(scoreSchema, value, text), text }
  }
  if (isTimeline(value)) return { kind: 'timeline', version: String(value.version), score: readTimeline(value, text) }
  throw new FileError({ code: 'unknown' })
}

/** Reads a file of any format that we know. Never throws, and changes nothing. */
export function readFile(text: string): ReadResult {
  try {
    // Editors of one system begin files with a mark that is no part of JSON.
    return { ok: true, content: read(text.replace(/^\uFEFF/, '')) }
  } catch (cause) {
    if (cause instanceof FileError) return { ok: false, problem: cause.problem }
    return { ok: false, problem: { code: 'unknown' } }
  }
}

/** Reads a file from the disk, whose size is looked at before its content. */
export async function readBlob(blob: Blob): Promise<ReadResult> {
  if (blob.size > MAX_FILE_BYTES) return { ok: false, problem: { code: 'large', bytes: blob.size } }
  try {
    return readFile(await blob.text())
  } catch {
    return { ok: false, problem: { code: 'unknown' } }
  }
}
