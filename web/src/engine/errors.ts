import { ApiError } from '../api/http'

/** A failure of the session, as a code for the error catalogue plus the raw text for its details. */
export interface SessionError {
  code: string
  message: string
}

export class SessionFailure extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message)
    this.name = 'SessionFailure'
  }
}

/** Servers without codes still say what happened; these are the words they use. */
export function codeFromText(text: string): string | null {
  if (/out of memory|outofmemory|\boom\b/i.test(text)) return 'out_of_memory'
  if (/not loaded/i.test(text)) return 'pipeline_unloaded'
  return null
}

export function sessionError(cause: unknown): SessionError {
  if (cause instanceof SessionFailure) return { code: cause.code, message: cause.message }
  if (cause instanceof ApiError) {
    return { code: codeFromText(cause.message) ?? cause.code, message: cause.message }
  }
  const message = cause instanceof Error ? cause.message : String(cause)
  return { code: codeFromText(message) ?? 'internal', message }
}

/** Whether trying again by itself is pointless: the cause needs a person. */
export function needsPerson(error: SessionError): boolean {
  return [
    'token_required',
    'out_of_memory',
    'load_failed',
    'unknown_pipeline',
    'invalid_graph',
    'invalid_parameters',
    'origin_forbidden',
    'host_forbidden',
    'models_missing',
  ].includes(error.code)
}
