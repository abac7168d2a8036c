import { FolderOpen, LibraryBig, TriangleAlert } from 'lucide-react'
import { useRef } from 'react'
import { useStore } from 'zustand'
import type { Asset } from '../../api/types'
import { scope } from '../../app'
import { clipName, withClip } from '../../doc/clip'
import { editDoc } from '../../doc/history'
import { docStore } from '../../doc/store'
import { CAMERA_HEIGHTS, type SourceErrorCode } from '../../engine/source'
import { sizeFor } from '../../engine/wire'
import { useDoc, useMode, usePipeline } from '../../hooks'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { Segmented, Select, Switch } from '../../ui/controls'
import { EngineMedia } from '../../ui/EngineMedia'
import { anchorOf } from '../graph/places'
import { openLibrary, pickAsset } from '../library/state'
import { assetFile, playAsInput } from '../library/uses'
import { OtherPrograms } from './OtherPrograms'
import { openVideo } from './openVideo'

function SourceProblem({
  code,
  onRetry,
  onFile,
}: {
  code: SourceErrorCode
  onRetry?: () => void
  onFile?: () => void
}) {
  const { title, body } = t.source.errors[code]
  return (
    <div role="alert" data-testid="source-error" className="rounded-1 border border-live/60 bg-live/10 p-3">
      <p className="flex items-center gap-2 text-13 font-semibold">
        <TriangleAlert size={15} className="shrink-0 text-live" aria-hidden />
        {title}
      </p>
      <p className="mt-1 text-12 text-fg2">{body}</p>
      {(onRetry || onFile) && (
        <div className="mt-2 flex gap-2">
          {onRetry && <Button onClick={onRetry}>{t.common.retry}</Button>}
          {onFile && <Button onClick={onFile}>{t.source.useFile}</Button>}
        </div>
      )}
    </div>
  )
}

function Preview() {
  const { status, width, height } = useStore(scope.source.store)
  const { kind, mirror, fit } = useDoc((doc) => doc.source)
  const pipeline = usePipeline()
  const target = useDoc((doc) => (pipeline ? sizeFor(doc, pipeline) : { width: 512, height: 512 }))
  return (
    <figure className="m-0">
      <div
        className="relative mx-auto max-h-64 overflow-hidden rounded-1 border border-line bg-black"
        style={{ aspectRatio: `${target.width} / ${target.height}` }}
      >
        <EngineMedia
          element={scope.source.video}
          className="preview-media absolute inset-0"
          data={{ 'data-fit': fit, 'data-mirror': mirror && kind === 'camera' }}
        />
        {status === 'starting' && (
          <p className="absolute inset-0 grid place-items-center text-12 text-fg2">{t.source.starting}</p>
        )}
      </div>
      <figcaption className="num mt-1.5 flex justify-between text-11 text-fg3">
        <span>{width > 0 ? `${width} × ${height}` : t.source.preview}</span>
        <span>{t.source.sent(target.width, target.height)}</span>
      </figcaption>
    </figure>
  )
}

function pickClip(): void {
  const chosen = (asset: Asset) => {
    const { name, url } = assetFile(asset)
    void playAsInput(name, url, asset.path)
  }
  pickAsset({ kind: 'video', label: t.source.kind, chosen })
}

function FileControls() {
  const clip = useDoc((doc) => doc.source.clip)
  const picker = useRef<HTMLInputElement>(null)
  const name = clip === null ? t.source.bundled : clipName(clip)
  return (
    <div className="flex items-center gap-2">
      <span className="min-w-0 flex-1 truncate text-12 text-fg2" title={name} data-testid="source-file">
        {name}
      </span>
      {clip !== null && (
        <Button variant="ghost" onClick={() => void scope.chooseSource(withClip(docStore.getState().source, null))}>
          {t.source.useBundled}
        </Button>
      )}
      <Button variant="outline" onClick={() => picker.current?.click()} className="max-md:h-11">
        <FolderOpen size={14} aria-hidden />
        {t.source.upload}
      </Button>
      <IconButton
        label={t.library.fromLibrary}
        variant="outline"
        data-testid="clip-from-library"
        className="max-md:h-11 max-md:w-11"
        onClick={pickClip}
      >
        <LibraryBig size={14} aria-hidden />
      </IconButton>
      <input
        ref={picker}
        type="file"
        accept="video/*"
        className="sr-only"
        tabIndex={-1}
        aria-label={t.source.upload}
        data-testid="video-upload"
        onChange={(event) => {
          const [file] = event.target.files ?? []
          if (file) void openVideo(file)
          event.target.value = ''
        }}
      />
    </div>
  )
}

function CameraControls() {
  const { cameras, cameraLimit } = useStore(scope.source.store)
  const { deviceId, cameraHeight, mirror } = useDoc((doc) => doc.source)
  const options = [
    { value: 'default', label: t.source.defaultDevice },
    ...cameras.map((camera) => ({ value: camera.id, label: camera.label })),
  ]
  return (
    <>
      <Select
        label={t.source.device}
        testId="camera-select"
        value={deviceId ?? 'default'}
        options={options}
        onChange={(value) => void scope.setSource({ deviceId: value === 'default' ? null : value })}
      />
      <Select
        label={t.camera.size}
        testId="camera-size"
        value={String(cameraHeight)}
        options={[
          { value: 'null', label: t.camera.auto },
          ...CAMERA_HEIGHTS.filter((lines) => lines <= (cameraLimit ?? lines)).map((lines) => ({
            value: String(lines),
            label: t.camera.lines(lines),
          })),
        ]}
        onChange={(value) => void scope.setSource({ cameraHeight: value === 'null' ? null : Number(value) })}
      />
      <div className="flex items-center justify-between text-12 text-fg2">
        <span>{t.source.mirror}</span>
        <Switch label={t.source.mirror} checked={mirror} onChange={(next) => void scope.setSource({ mirror: next })} />
      </div>
    </>
  )
}

const canCapture = navigator.mediaDevices?.getDisplayMedia !== undefined

function ScreenControls() {
  return (
    <div className="flex items-center justify-between gap-2 text-12 text-fg2">
      <span>{t.source.screenHint}</span>
      <Button variant="outline" className="max-md:h-11" onClick={() => void scope.captureAgain()}>
        {t.source.screenChoose}
      </Button>
    </div>
  )
}

function VideoSource() {
  const source = useDoc((doc) => doc.source)
  const { error, uploadError } = useStore(scope.source.store)
  return (
    <>
      <Segmented
        label={t.source.kind}
        testId="source-kind"
        value={source.kind}
        options={[
          { value: 'file', label: t.source.file },
          { value: 'camera', label: t.source.camera },
          ...(canCapture ? [{ value: 'screen', label: t.source.screen }] : []),
        ]}
        onChange={(kind) => void scope.setSource({ kind: kind as 'file' | 'camera' | 'screen' })}
      />
      <Preview />
      {error && (
        <SourceProblem
          code={error}
          onRetry={() => void scope.setSource({})}
          {...(source.kind !== 'file' ? { onFile: () => void scope.setSource({ kind: 'file' }) } : {})}
        />
      )}
      {uploadError && <SourceProblem code={uploadError} />}
      {source.kind === 'file' && <FileControls />}
      {source.kind === 'camera' && <CameraControls />}
      {source.kind === 'screen' && <ScreenControls />}
      <div className="flex items-center justify-between gap-3 text-12 text-fg2">
        <span>{t.source.fit}</span>
        <div className="w-36">
          <Segmented
            label={t.source.fit}
            value={source.fit}
            options={[
              { value: 'cover', label: t.source.cover },
              { value: 'contain', label: t.source.contain },
            ]}
            onChange={(fit) => void scope.setSource({ fit: fit as 'cover' | 'contain' })}
          />
        </div>
      </div>
      <OtherPrograms />
    </>
  )
}

export function SourcePanel() {
  const pipeline = usePipeline()
  const mode = useMode()
  const modes = pipeline?.supported_modes ?? ['text', 'video']
  const missing = (['text', 'video'] as const).find((candidate) => !modes.includes(candidate))
  return (
    <div id={anchorOf('source')} tabIndex={-1} className="flex flex-col gap-3 p-3 focus-visible:-outline-offset-2">
      <div className="flex items-center justify-between">
        <h2 className="panel-title">{t.source.title}</h2>
        <Button variant="ghost" className="h-11 md:hidden" data-testid="open-library" onClick={() => openLibrary()}>
          <LibraryBig size={16} aria-hidden />
          {t.library.title}
        </Button>
      </div>
      <Segmented
        label={t.source.mode}
        testId="mode-toggle"
        value={mode}
        options={[
          { value: 'text', label: t.source.text, disabled: !modes.includes('text') },
          { value: 'video', label: t.source.video, disabled: !modes.includes('video') },
        ]}
        onChange={(next) => editDoc(t.project.edits.mode, (doc) => ({ ...doc, mode: next as 'text' | 'video' }))}
      />
      {missing && pipeline && (
        <p className="text-11 text-fg3">
          {t.source.modeUnsupported(pipeline.name, missing === 'text' ? t.source.text : t.source.video)}
        </p>
      )}
      {mode === 'video' ? <VideoSource /> : <p className="text-12 text-fg2">{t.source.textHint}</p>}
    </div>
  )
}
