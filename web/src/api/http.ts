/** One failed request: what the server said (or that it said nothing), with a code the UI can act on. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
  ) {
    super(message)
    this.name = 'ApiError'
  }
}

export interface RequestOptions {
  method?: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'
  json?: unknown
  /** A body that is JSON text already, sent letter by letter. */
  jsonText?: string
  body?: BodyInit
  headers?: Record<string, string>
  signal?: AbortSignal | undefined
  timeoutMs?: number
  /** Lets the request outlive the page, for the good-bye sent while it unloads. */
  keepalive?: boolean
}

function detailText(detail: unknown): string | null {
  if (typeof detail === 'string') return detail
  if (Array.isArray(detail)) {
    const lines = detail
      .map((item: { loc?: unknown[]; msg?: string }) =>
        [item.loc?.slice(1).join('.'), item.msg].filter(Boolean).join(': '),
      )
      .filter(Boolean)
    return lines.length > 0 ? lines.join('; ') : null
  }
  return detail == null ? null : JSON.stringify(detail)
}

/** What a refusal says; `text` is its body. */
export function refusal(status: number, statusText: string, text: string): ApiError {
  let message = `${status} ${statusText}`.trim()
  let code = status === 401 ? 'token_required' : `http_${status}`
  try {
    const body = JSON.parse(text) as { detail?: unknown; code?: unknown }
    message = detailText(body.detail) ?? message
    if (typeof body.code === 'string') code = body.code
  } catch {
    // A body that is not JSON adds nothing to the status line.
  }
  return new ApiError(message, status, code)
}

/** Same-origin request; throws `ApiError` for every refusal, `server_unreachable` and `timeout` included. */
export async function request(path: string, options: RequestOptions = {}): Promise<Response> {
  const { method = 'GET', json, jsonText, body, headers, signal, timeoutMs = 15_000, keepalive } = options
  const timeout = AbortSignal.timeout(timeoutMs)
  const init: RequestInit = {
    method,
    credentials: 'same-origin',
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
  }
  if (keepalive) init.keepalive = true
  if (headers) init.headers = headers
  const text = json === undefined ? jsonText : JSON.stringify(json)
  if (text !== undefined) {
    init.headers = { ...headers, 'Content-Type': 'application/json' }
    init.body = text
  } else if (body !== undefined) {
    init.body = body
    init.headers = { ...headers, 'Content-Type': 'application/octet-stream' }
  }
  let response: Response
  try {
    response = await fetch(path, init)
  } catch (cause) {
    if (signal?.aborted) throw cause
    if (timeout.aborted) throw new ApiError(`No answer from the server within ${timeoutMs / 1000} s`, 0, 'timeout')
    throw new ApiError('The server does not answer', 0, 'server_unreachable')
  }
  if (!response.ok) throw refusal(response.status, response.statusText, await response.text().catch(() => ''))
  return response
}
