import {
  Camera,
  Circle,
  CircleHelp,
  Download,
  HardDriveDownload,
  LibraryBig,
  Maximize,
  MonitorUp,
  PanelLeft,
  Pause,
  Play,
  Search,
  Settings2,
  SlidersHorizontal,
  Square,
} from 'lucide-react'
import { useStore } from 'zustand'
import { scope, uiStore } from '../../app'
import { isRunning, together } from '../../engine/models'
import { type Layout, useModels, useOnScreen, usePipeline, useSessionState } from '../../hooks'
import { t } from '../../messages'
import { Button, Hint, IconButton } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { bytes } from '../../ui/format'
import { commandTarget } from '../control/ids'
import { toggleLibrary } from '../library/state'
import { openModels } from '../models/open'
import { openOutput } from '../output/commands'
import { ProjectMenu } from '../project/ProjectMenu'
import { openSettings } from '../settings/commands'
import { chordLabel } from '../shell/chords'
import { takeScreenshot, toggleFullscreen, toggleRecording } from '../stage/commands'
import { TempoButton } from '../tempo/TempoButton'
import { Readouts, StateChip } from './Readouts'
import { RecordTime } from './RecordTime'

function Logo() {
  return (
    <svg viewBox="0 0 32 32" className="h-6 w-6 shrink-0" aria-hidden>
      <circle cx="16" cy="16" r="12" fill="none" className="stroke-accent" strokeWidth="3" />
      <path
        d="M4 16h5l3-8 5 16 3.5-11 1.5 3H28"
        fill="none"
        className="stroke-fg1"
        strokeWidth="2.5"
        strokeLinejoin="round"
        strokeLinecap="round"
      />
    </svg>
  )
}

export function TransportButtons({ compact = false }: { compact?: boolean }) {
  const state = useSessionState()
  const pipeline = usePipeline()
  const stopped = state === 'idle' || state === 'failed'
  const onScreen = useOnScreen()
  const height = compact ? 'h-11 min-w-11' : 'h-8'
  return (
    <div className="flex items-center gap-1.5">
      {stopped ? (
        <Button
          variant="primary"
          className={cx(height, !compact && 'min-w-20')}
          data-testid="start-stream-button"
          data-map={commandTarget('play')}
          disabled={!pipeline}
          onClick={() => void scope.start()}
        >
          <Play size={15} fill="currentColor" aria-hidden />
          {t.header.start}
        </Button>
      ) : (
        <Hint text={state === 'paused' ? t.header.resume : t.header.pause} shortcut="Space">
          <Button
            variant={state === 'paused' ? 'primary' : 'solid'}
            className={cx(height, !compact && 'min-w-20')}
            data-testid="pause-button"
            data-map={commandTarget('play')}
            aria-label={state === 'paused' ? t.header.resume : t.header.pause}
            disabled={!onScreen}
            onClick={() => scope.togglePlay()}
          >
            {state === 'paused' ? (
              <Play size={15} fill="currentColor" aria-hidden />
            ) : (
              <Pause size={15} fill="currentColor" aria-hidden />
            )}
            {!compact && (state === 'paused' ? t.header.resume : t.header.pause)}
          </Button>
        </Hint>
      )}
      <Button
        variant="outline"
        className={height}
        data-testid="stop-button"
        data-map={commandTarget('stop')}
        aria-label={t.header.stop}
        disabled={stopped || state === 'stopping'}
        onClick={() => void scope.session.stop()}
      >
        <Square size={13} fill="currentColor" aria-hidden />
        {!compact && t.header.stop}
      </Button>
    </div>
  )
}

function RecordButton({ compact = false }: { compact?: boolean }) {
  const { phase, result } = useStore(scope.recorder.store)
  const onScreen = useOnScreen()
  const on = phase === 'on'
  const label = on ? t.header.stopRecording : t.header.record
  return (
    <div className="flex items-center gap-1">
      <Hint text={label} shortcut="R">
        <Button
          variant={on ? 'danger' : 'ghost'}
          className={compact ? 'h-11 min-w-11' : 'h-8'}
          data-testid="record-button"
          data-map={commandTarget('record')}
          data-state={phase}
          aria-label={label}
          aria-pressed={on}
          disabled={!onScreen || phase === 'saving' || phase === 'starting'}
          onClick={toggleRecording}
        >
          <Circle size={13} fill="currentColor" className={cx(!on && onScreen && 'text-live')} aria-hidden />
          {phase === 'saving' ? (
            t.header.savingRecording
          ) : on ? (
            <RecordTime />
          ) : (
            !compact && <span className="max-lg:hidden">{t.header.record}</span>
          )}
        </Button>
      </Hint>
      {result && phase === 'off' && (
        <Hint text={t.header.downloadRecording(bytes(result.bytes))}>
          <a
            href={result.url}
            download={result.name}
            data-testid="recording-link"
            aria-label={t.header.downloadRecording(bytes(result.bytes))}
            className="flex h-8 items-center gap-1 rounded-1 px-2 text-12 text-accent hover:bg-bg3"
          >
            <Download size={14} aria-hidden />
            {!compact && bytes(result.bytes)}
          </a>
        </Hint>
      )}
    </div>
  )
}

function OutputChip() {
  const { black, frozen, bars } = useStore(scope.output.store)
  if (!black && !frozen && !bars) return null
  return (
    <span className="rounded-full border border-warn px-2 py-0.5 text-11 font-medium text-warn">
      {black ? t.output.chipBlack : bars ? t.output.chipBars : t.output.chipFrozen}
    </span>
  )
}

/** The way to the models; while one is being downloaded, how far. */
function ModelsButton() {
  const { percent, any } = useModels(({ models }) => {
    const running = Object.values(models).flatMap(({ progress }) => (isRunning(progress) ? [progress] : []))
    return {
      percent: running.length > 0 ? Math.floor(together(running).percentage ?? 0) : null,
      any: Object.keys(models).length > 0,
    }
  })
  if (!any) return null
  const label = percent === null ? t.models.title : `${t.models.title}, ${t.models.percent(percent)}`
  return (
    <Hint text={label} shortcut="M">
      <Button
        variant="ghost"
        square={percent === null}
        aria-label={label}
        data-testid="models-button"
        onClick={openModels}
        className={cx(percent !== null && 'text-accent!')}
      >
        <HardDriveDownload size={16} aria-hidden />
        {percent !== null && <span className="num text-11">{percent} %</span>}
      </Button>
    </Hint>
  )
}

function Divider() {
  return <div className="mx-1 h-6 w-px bg-line max-lg:hidden" aria-hidden />
}

export function Header({ layout }: { layout: Layout }) {
  const onScreen = useOnScreen()
  if (layout === 'narrow') {
    return (
      <header className="flex h-14 shrink-0 items-center gap-2 border-b border-line bg-bg1 px-2 max-[400px]:gap-1 max-[400px]:px-1">
        <h1 className="sr-only">{t.app.title}</h1>
        <TransportButtons compact />
        <RecordButton compact />
        <div className="ml-auto flex min-w-0 items-center gap-2 max-[400px]:gap-1">
          <Readouts compact />
          <StateChip compact />
          <ProjectMenu compact />
        </div>
      </header>
    )
  }
  return (
    <header className="flex h-12 shrink-0 items-center gap-2 border-b border-line bg-bg1 px-3 max-lg:gap-1 max-lg:px-2">
      <h1 className="sr-only">{t.app.title}</h1>
      {layout === 'medium' ? (
        <IconButton label={t.header.openSource} onClick={() => uiStore.setState({ drawer: 'source' })}>
          <PanelLeft size={16} aria-hidden />
        </IconButton>
      ) : (
        <>
          <Logo />
          <span className="text-14 font-semibold tracking-tight">{t.app.name}</span>
        </>
      )}
      <ProjectMenu compact={layout === 'medium'} />
      <Divider />
      <TransportButtons />
      <RecordButton />
      <Divider />
      <div className="flex items-center">
        <IconButton
          label={t.header.screenshot}
          shortcut="P"
          data-testid="screenshot-button"
          data-map={commandTarget('screenshot')}
          disabled={!onScreen}
          onClick={() => void takeScreenshot()}
        >
          <Camera size={16} aria-hidden />
        </IconButton>
        <IconButton
          label={t.header.fullscreen}
          shortcut="F"
          data-map={commandTarget('fullscreen')}
          onClick={() => void toggleFullscreen()}
        >
          <Maximize size={16} aria-hidden />
        </IconButton>
        <IconButton
          label={t.header.output}
          shortcut="O"
          data-testid="output-button"
          data-map={commandTarget('output')}
          onClick={openOutput}
        >
          <MonitorUp size={16} aria-hidden />
        </IconButton>
        <IconButton label={t.library.title} shortcut="L" data-testid="library-button" onClick={toggleLibrary}>
          <LibraryBig size={16} aria-hidden />
        </IconButton>
        <ModelsButton />
        <IconButton
          label={t.header.palette}
          shortcut={chordLabel('Mod+K')}
          data-testid="palette-button"
          onClick={() => uiStore.setState({ palette: true })}
        >
          <Search size={16} aria-hidden />
        </IconButton>
        <IconButton label={t.header.settings} data-testid="settings-button" onClick={() => openSettings()}>
          <Settings2 size={16} aria-hidden />
        </IconButton>
        {layout === 'wide' && (
          <IconButton label={t.header.shortcuts} shortcut="?" onClick={() => uiStore.setState({ sheet: true })}>
            <CircleHelp size={16} aria-hidden />
          </IconButton>
        )}
      </div>
      <div className="ml-auto flex items-center gap-3 max-lg:gap-1.5">
        <OutputChip />
        {layout === 'wide' && <TempoButton />}
        <Readouts />
        <StateChip />
        {layout === 'medium' && (
          <IconButton label={t.header.openInspector} onClick={() => uiStore.setState({ drawer: 'inspector' })}>
            <SlidersHorizontal size={16} aria-hidden />
          </IconButton>
        )}
      </div>
    </header>
  )
}
