import { useEffect, useState } from 'react'
import { api } from '../../api/client'
import type { ModelStatus } from '../../api/types'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { bytes } from '../../ui/format'

const POLL_MS = 1000

/** Downloads a pipeline's model files: asks once, then follows the server's progress. */
export function ModelDownload({ pipelineId }: { pipelineId: string }) {
  const [status, setStatus] = useState<ModelStatus | null>(null)
  const [failed, setFailed] = useState<string | null>(null)
  useEffect(() => {
    let alive = true
    const poll = async () => {
      const next = await api.models(pipelineId).catch(() => null)
      if (alive && next) setStatus(next)
    }
    void poll()
    const timer = setInterval(() => void poll(), POLL_MS)
    return () => {
      alive = false
      clearInterval(timer)
    }
  }, [pipelineId])

  const progress = status?.progress
  const running = progress?.is_downloading === true
  const problem = failed ?? progress?.error ?? null
  const start = () => {
    setFailed(null)
    api.downloadModels(pipelineId).catch((cause: Error) => setFailed(cause.message))
  }
  if (status?.downloaded) return <p className="mt-3 text-13 font-medium text-ok">{t.errors.downloadDone}</p>
  const percent = progress?.percentage ?? 0
  const known = progress?.total_bytes && progress.downloaded_bytes !== null
  const text = known
    ? t.errors.downloadProgress(bytes(progress.downloaded_bytes ?? 0), bytes(progress.total_bytes ?? 0))
    : `${Math.round(percent)} %`
  return (
    <div className="mt-3">
      {running ? (
        <>
          <div
            role="progressbar"
            aria-label={t.errors.downloading}
            aria-valuemin={0}
            aria-valuemax={100}
            aria-valuenow={Math.round(percent)}
            aria-valuetext={text}
            data-testid="download-progress"
            className="h-1.5 overflow-hidden rounded-full bg-bg3"
          >
            <div className="h-full rounded-full bg-accent" style={{ width: `${percent}%` }} />
          </div>
          <p className="num mt-1.5 flex justify-between text-12 text-fg2">
            <span className="truncate">{progress?.current_artifact ?? t.errors.downloading}</span>
            <span>{text}</span>
          </p>
        </>
      ) : (
        <Button variant="primary" size="m" onClick={start}>
          {t.errors.download}
        </Button>
      )}
      {problem && <p className="mt-2 text-12 text-live">{`${t.errors.downloadFailed}: ${problem}`}</p>}
    </div>
  )
}
