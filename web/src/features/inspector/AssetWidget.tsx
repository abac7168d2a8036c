import { AudioLines, Film, ImagePlus, RotateCw, X } from 'lucide-react'
import { assetUrl } from '../../api/client'
import { scope } from '../../app'
import { useOnScreen } from '../../hooks'
import { t } from '../../messages'
import { Button, Hint, IconButton } from '../../ui/Button'
import { pickAsset } from '../library/state'
import { fileName, MAX_LISTED, pathsOf, withPath } from '../library/uses'
import { useNode } from './node'
import type { WidgetProps } from './widgets'

const ICON = { audio: AudioLines, video: Film }

function Thumbnail({ kind, path }: { kind: 'image' | 'audio' | 'video'; path: string }) {
  if (kind === 'image') return <img src={assetUrl(path)} alt="" className="h-full w-full object-cover" />
  const Icon = ICON[kind]
  return <Icon size={18} className="text-accent" aria-hidden />
}

/** Files of the library as a parameter's value, with a way to choose them. */
export function AssetWidget({ field, value, testId, describedBy, onChange }: WidgetProps) {
  const node = useNode()
  const onScreen = useOnScreen()
  const kind = field.asset?.kind ?? 'image'
  const list = field.asset?.list ?? false
  const paths = pathsOf(value)
  const take = (gone: string) => onChange(list ? paths.filter((path) => path !== gone) : null)
  const choose = () =>
    pickAsset({ kind, label: field.label, chosen: ({ path }) => onChange(withPath(field, paths, path)) })
  return (
    <div className="flex flex-col gap-1.5" data-testid={testId}>
      {paths.length > 0 && (
        <ul aria-label={field.label} className="m-0 flex list-none flex-col gap-1 p-0">
          {paths.map((path) => (
            <li key={path} className="flex items-center gap-2 rounded-1 border border-line bg-bg0 p-1">
              <span className="grid h-10 w-14 shrink-0 place-items-center overflow-hidden rounded-[3px] bg-bg2">
                <Thumbnail kind={kind} path={path} />
              </span>
              <span className="min-w-0 flex-1 truncate text-12 text-fg2" title={fileName(path)}>
                {fileName(path)}
              </span>
              <IconButton
                label={t.inspector.removeFile(fileName(path))}
                className="max-md:h-11 max-md:w-11"
                onClick={() => take(path)}
              >
                <X size={14} aria-hidden />
              </IconButton>
            </li>
          ))}
        </ul>
      )}
      <div className="flex gap-1.5">
        <Button
          variant="outline"
          className="flex-1 max-md:h-11"
          aria-label={t.inspector.chooseFor(field.label)}
          aria-describedby={describedBy}
          data-testid={`${testId}-choose`}
          disabled={list && paths.length >= MAX_LISTED}
          onClick={choose}
        >
          <ImagePlus size={14} aria-hidden />
          {t.inspector.choose}
        </Button>
        {field.once && paths.length > 0 && (
          <Hint text={t.inspector.sendAgainHint}>
            <Button
              variant="outline"
              className="max-md:h-11"
              data-testid={`${testId}-again`}
              disabled={!onScreen}
              onClick={() => scope.sendAgain(node, field)}
            >
              <RotateCw size={13} aria-hidden />
              {t.inspector.sendAgain}
            </Button>
          </Hint>
        )}
      </div>
    </div>
  )
}
