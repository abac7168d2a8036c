import { FileUp, X } from 'lucide-react'
import { useRef, useState } from 'react'
import { api, assetUrl } from '../../api/client'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import type { WidgetProps } from './widgets'

const asPaths = (value: unknown): string[] =>
  (Array.isArray(value) ? value : [value]).filter((path): path is string => typeof path === 'string' && path !== '')

/** Uploads a file to the server's assets and sets the parameter to its path. */
export function AssetWidget({ field, value, testId, describedBy, onChange }: WidgetProps) {
  const picker = useRef<HTMLInputElement>(null)
  const [busy, setBusy] = useState(false)
  const [problem, setProblem] = useState<string | null>(null)
  const kind = field.asset?.kind ?? 'image'
  const paths = asPaths(value)
  const upload = async (file: File) => {
    setBusy(true)
    setProblem(null)
    try {
      const asset = await api.uploadAsset(file.name, file)
      onChange(field.asset?.list ? [asset.path] : asset.path)
    } catch (cause) {
      setProblem(cause instanceof Error ? cause.message : t.inspector.uploadFailed)
    } finally {
      setBusy(false)
    }
  }
  return (
    <div className="flex flex-col gap-1.5" data-testid={testId}>
      {paths.map((path) => (
        <div key={path} className="flex items-center gap-2 rounded-1 border border-line bg-bg0 p-1.5">
          {kind === 'image' && <img src={assetUrl(path)} alt="" className="h-10 w-10 rounded-[3px] object-cover" />}
          <span className="min-w-0 flex-1 truncate text-12 text-fg2">{path.split(/[\\/]/).at(-1)}</span>
          <IconButton label={t.inspector.remove} onClick={() => onChange(field.asset?.list ? [] : null)}>
            <X size={14} aria-hidden />
          </IconButton>
        </div>
      ))}
      <Button variant="outline" disabled={busy} aria-describedby={describedBy} onClick={() => picker.current?.click()}>
        <FileUp size={14} aria-hidden />
        {busy ? t.inspector.uploading : t.inspector.upload}
      </Button>
      <input
        ref={picker}
        type="file"
        accept={`${kind}/*`}
        className="sr-only"
        tabIndex={-1}
        aria-label={field.label}
        onChange={(event) => {
          const [file] = event.target.files ?? []
          if (file) void upload(file)
          event.target.value = ''
        }}
      />
      {problem && (
        <p role="alert" className="text-11 text-live">
          {problem}
        </p>
      )}
    </div>
  )
}
