import { ApiError, refusal } from './http'

export interface SendOptions {
  signal?: AbortSignal
  onProgress?(sent: number, total: number): void
}

/** Sends a file as it is and tells how far it is, which `fetch` cannot; answers with what the server says. */
export function send(path: string, data: Blob, { signal, onProgress }: SendOptions = {}): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    const abort = () => request.abort()
    const end = (settle: () => void) => {
      signal?.removeEventListener('abort', abort)
      settle()
    }
    request.open('POST', path)
    request.setRequestHeader('Content-Type', 'application/octet-stream')
    request.upload.onprogress = ({ loaded, total }) => onProgress?.(loaded, total)
    request.onerror = () => end(() => reject(new ApiError('The server does not answer', 0, 'server_unreachable')))
    request.onabort = () => end(() => reject(new DOMException('The upload was cancelled', 'AbortError')))
    request.onload = () =>
      end(() => {
        const { status, statusText, responseText } = request
        if (status < 200 || status >= 300) return reject(refusal(status, statusText, responseText))
        try {
          resolve(JSON.parse(responseText))
        } catch {
          reject(new ApiError('The server gave an answer that makes no sense', status, 'bad_answer'))
        }
      })
    if (signal?.aborted) return reject(new DOMException('The upload was cancelled', 'AbortError'))
    signal?.addEventListener('abort', abort)
    request.send(data)
  })
}
