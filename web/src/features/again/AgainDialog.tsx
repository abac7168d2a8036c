import { Check, CircleAlert, CircleCheck, Clapperboard, Download, FolderOpen, TriangleAlert, X } from 'lucide-react'
import { type ReactNode, useState } from 'react'
import { useStore } from 'zustand'
import { assetUrl } from '../../api/client'
import { scope } from '../../app'
import type { RenderOutcome, RerenderState } from '../../engine/rerender'
import { inexact, type Show } from '../../engine/shows'
import { useCatalog, useOnScreen } from '../../hooks'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { Select } from '../../ui/controls'
import { cx } from '../../ui/cx'
import { Sheet } from '../../ui/Sheet'
import { duration } from '../models/parts'
import { clockText } from '../project/actions'
import { pickFile } from '../project/entry'
import { againStore, closeAgain, saveScore, upToDate } from './state'
import { problemText, showRecordings } from './watch'

const m = t.again

function nameOf({ origin, name, at }: Show): string {
  if (origin === 'file') return name
  return origin === 'air' ? m.origins.air() : m.origins.ended(clockText(at))
}

function whyText(show: Show): string | null {
  const why = inexact(show)
  if (why === null) return null
  return 'words' in why ? m.why.words(why.words) : m.why[why.code]
}

function Remark({ tone, icon, children }: { tone: string; icon: ReactNode; children: ReactNode }) {
  return (
    <p className={cx('mt-1 flex items-start gap-1.5 text-12', tone)}>
      <span className="mt-0.5 shrink-0">{icon}</span>
      <span className="[overflow-wrap:anywhere]">{children}</span>
    </p>
  )
}

/** What can stand in for the video that a show was made over. */
function ClipSelect({ clip, onChange }: { clip: string | null; onChange(path: string): void }) {
  const items = useStore(scope.library.assets.store, (shelf) => shelf.items)
  const clips = items.filter(({ type }) => type === 'video')
  return (
    <div className="mt-2 flex flex-col gap-1.5">
      <p className="text-12 text-fg2">{clips.length === 0 ? m.noClips : m.clipHint}</p>
      {clips.length > 0 && (
        <Select
          label={m.clip}
          testId="again-clip"
          value={clip ?? ''}
          placeholder={m.noClip}
          options={clips.map(({ path, name }) => ({ value: path, label: name }))}
          onChange={onChange}
        />
      )}
    </div>
  )
}

function ShowRow({ show, busy }: { show: Show; busy: boolean }) {
  const pipelines = useCatalog((catalog) => catalog.pipelines)
  const [clip, setClip] = useState<string | null>(null)
  const { score, origin } = show
  const name = nameOf(show)
  const id = score.pipeline_id ?? ''
  const pipeline = pipelines[id]
  const why = whyText(show)
  const nothing = id === '' || score.frames === 0
  const needsClip = score.mode === 'video'
  const problem = nothing ? m.problems.score_without_length : pipeline ? null : m.problems.pipeline_gone(id)
  const facts = m.facts(pipeline?.name ?? id, t.source[score.mode], score.frames, score.changes.length)
  return (
    <li data-testid="show" data-origin={origin} className="rounded-1 border border-line bg-bg2 p-3">
      <div className="flex items-start gap-2">
        <div className="min-w-0 flex-1">
          <p className="text-13 font-medium [overflow-wrap:anywhere]">{name}</p>
          <p className="num mt-0.5 text-12 text-fg2">{facts}</p>
        </div>
        {origin !== 'air' && (
          <IconButton
            label={m.remove(name)}
            className="max-md:h-11 max-md:w-11"
            onClick={() => scope.shows.remove(show.id)}
          >
            <X size={14} aria-hidden />
          </IconButton>
        )}
      </div>
      {why === null ? (
        <Remark tone="text-ok" icon={<Check size={13} aria-hidden />}>
          {m.exact}
        </Remark>
      ) : (
        <Remark tone="text-warn" icon={<TriangleAlert size={13} aria-hidden />}>
          {m.inexact}. {why}
        </Remark>
      )}
      {problem !== null && (
        <Remark tone="text-live" icon={<CircleAlert size={13} aria-hidden />}>
          {problem}
        </Remark>
      )}
      {needsClip && problem === null && <ClipSelect clip={clip} onChange={setClip} />}
      <div className="mt-2.5 flex flex-wrap gap-1.5">
        <Button
          variant="primary"
          className="max-md:h-11"
          data-testid="render-again"
          aria-label={m.renderOf(name)}
          disabled={busy || problem !== null || (needsClip && clip === null)}
          onClick={async () => scope.rerender.render(await upToDate(show), needsClip ? clip : null)}
        >
          <Clapperboard size={14} aria-hidden />
          {m.render}
        </Button>
        <Button
          variant="outline"
          className="max-md:h-11"
          data-testid="save-score"
          aria-label={m.saveOf(name)}
          onClick={() => void saveScore(show)}
        >
          <Download size={14} aria-hidden />
          {m.save}
        </Button>
      </div>
    </li>
  )
}

function Progress({ render, ending, leftMs }: RerenderState) {
  const onScreen = useOnScreen()
  const pipelines = useCatalog((catalog) => catalog.pipelines)
  const { frames, total_frames: all, pipeline_id: id } = render ?? { frames: 0, total_frames: 0, pipeline_id: '' }
  const left = leftMs === null ? '' : m.left(duration(leftMs / 1000))
  const percent = (100 * frames) / Math.max(1, all)
  const title = render ? m.rendering(pipelines[id]?.name ?? id) : m.phases.preparing
  return (
    <div className="rounded-1 border border-accent/60 bg-accent/10 p-3" data-testid="again-progress">
      <div className="flex items-center gap-3">
        <div className="min-w-0 flex-1">
          <p className="text-13 font-medium [overflow-wrap:anywhere]">{ending ? m.phases.ending : title}</p>
          {render && (
            <p className="num mt-0.5 flex flex-wrap gap-x-3 text-12 text-fg2">
              <span>{m.of(frames, all)}</span>
              <span>{left}</span>
            </p>
          )}
        </div>
        <Button
          variant="outline"
          className="max-md:h-11"
          data-testid="again-cancel"
          disabled={ending}
          onClick={() => scope.rerender.cancel()}
        >
          {m.cancel}
        </Button>
      </div>
      <div
        role="progressbar"
        aria-label={m.progress}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.floor(percent)}
        aria-valuetext={render ? [m.of(frames, all), left].filter(Boolean).join(', ') : title}
        className="mt-2.5 h-1.5 overflow-hidden rounded-full bg-bg3"
      >
        <div
          className="h-full rounded-full bg-accent transition-[width] duration-500 ease-linear"
          style={{ width: `${percent}%` }}
        />
      </div>
      <p className="mt-2 text-12 text-fg2">
        {m.outlives} {onScreen && m.beside}
      </p>
    </div>
  )
}

function Dismiss() {
  return (
    <IconButton label={m.dismiss} className="max-md:h-11 max-md:w-11" onClick={() => void scope.rerender.forget()}>
      <X size={14} aria-hidden />
    </IconButton>
  )
}

/** The film, to look at and to take along. */
function Done({ render, film }: Extract<RenderOutcome, { kind: 'done' }>) {
  const url = assetUrl(film.path)
  return (
    <div
      role="status"
      data-testid="again-outcome"
      data-kind="done"
      className="rounded-1 border border-ok/60 bg-ok/10 p-3"
    >
      <div className="flex gap-2.5">
        <CircleCheck size={16} className="mt-0.5 shrink-0 text-ok" aria-hidden />
        <div className="min-w-0 flex-1">
          <p className="text-13 font-medium [overflow-wrap:anywhere]">{m.done(film.name)}</p>
          <p className="mt-0.5 text-12 text-fg2">{m.doneHint(render.total_frames)}</p>
          {render.why_not && (
            <Remark tone="text-warn" icon={<TriangleAlert size={13} aria-hidden />}>
              {m.inexact}. {m.why.words(render.why_not)}
            </Remark>
          )}
        </div>
        <Dismiss />
      </div>
      {/* biome-ignore lint/a11y/useMediaCaption: what was rendered has no words */}
      <video
        src={url}
        controls
        preload="metadata"
        aria-label={m.film(film.name)}
        className="mt-2.5 max-h-64 w-full rounded-1 bg-bg0 object-contain"
      />
      <div className="mt-2.5 flex flex-wrap gap-1.5">
        <a
          href={url}
          download={`${film.name}.mp4`}
          data-testid="again-download"
          className="inline-flex h-7 items-center gap-1.5 rounded-1 border border-edge bg-bg2 px-2 text-12 font-medium hover:bg-bg3 max-md:h-11"
        >
          <Download size={14} aria-hidden />
          {m.download}
        </a>
        <Button variant="outline" className="max-md:h-11" onClick={showRecordings}>
          {m.showIt}
        </Button>
      </div>
    </div>
  )
}

function Outcome({ outcome }: { outcome: RenderOutcome }) {
  if (outcome.kind === 'done') return <Done {...outcome} />
  if (outcome.kind === 'cancelled') {
    return (
      <p role="status" data-testid="again-outcome" data-kind="cancelled" className="text-12 text-fg2">
        {m.cancelled}
      </p>
    )
  }
  return (
    <div
      role="alert"
      data-testid="again-outcome"
      data-kind="failed"
      className="flex gap-2.5 rounded-1 border border-live/60 bg-live/10 p-3"
    >
      <CircleAlert size={16} className="mt-0.5 shrink-0 text-live" aria-hidden />
      <div className="min-w-0 flex-1">
        <p className="text-13 font-medium">{m.failed}</p>
        <p className="mt-0.5 text-12 [overflow-wrap:anywhere] text-fg2">{problemText(outcome.error)}</p>
      </div>
      <Dismiss />
    </div>
  )
}

/** What was performed, and how it is made again. */
export function AgainDialog() {
  const open = useStore(againStore, (ui) => ui.open)
  const items = useStore(scope.shows.store, (shows) => shows.items)
  const now = useStore(scope.rerender.store)
  const busy = now.preparing || now.render !== null
  return (
    <Sheet open={open} side="center" title={m.title} description={m.intro} onClose={closeAgain}>
      <div className="flex flex-col gap-3 p-4" data-testid="again">
        {busy && <Progress {...now} />}
        {now.outcome && <Outcome outcome={now.outcome} />}
        {items.length === 0 ? (
          <div className="rounded-1 border border-dashed border-edge p-5 text-center">
            <p className="text-13 font-medium">{m.none}</p>
            <p className="mt-1 text-12 text-fg2">{m.noneHint}</p>
          </div>
        ) : (
          <ul aria-label={m.shows} className="m-0 flex list-none flex-col gap-2 p-0">
            {items.map((show) => (
              <ShowRow key={show.id} show={show} busy={busy} />
            ))}
          </ul>
        )}
        <div className="flex flex-wrap items-center gap-x-3 gap-y-2">
          <Button variant="outline" className="max-md:h-11" data-testid="open-score" onClick={pickFile}>
            <FolderOpen size={14} aria-hidden />
            {m.open}
          </Button>
          <p className="min-w-0 flex-1 text-12 text-fg3">{m.kept}</p>
        </div>
      </div>
    </Sheet>
  )
}
