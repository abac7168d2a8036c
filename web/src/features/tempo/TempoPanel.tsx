import { Minus, Plus } from 'lucide-react'
import { type ReactNode, useState } from 'react'
import { useStore } from 'zustand'
import { scope } from '../../app'
import { changeDoc } from '../../doc/store'
import {
  GRIDS,
  type Grid,
  MAX_BEATS_PER_BAR,
  MAX_BPM,
  MAX_LOOKAHEAD_MS,
  MIN_BPM,
  setTempo,
  type TempoSettings,
} from '../../doc/tempo'
import { useChain, useDoc } from '../../hooks'
import { t } from '../../messages'
import { Button, Hint, IconButton } from '../../ui/Button'
import { Segmented, Select, Switch } from '../../ui/controls'
import { cx } from '../../ui/cx'
import { NumberInput } from '../../ui/fields'
import { midi } from '../control/controller'
import { commandTarget } from '../control/ids'
import { nudge, setOne, tap, toggleTempo } from './commands'
import { ModulationList } from './ModulationList'

const m = t.tempo
const NUDGES = [-10, 10] as const

const change = (next: Partial<TempoSettings>) => changeDoc(setTempo(next))

interface LineProps {
  label: string
  /** On a phone its control has a line of its own. */
  wide?: boolean
  children: ReactNode
}

function Line({ label, wide = false, children }: LineProps) {
  return (
    <div
      className={cx(
        'flex min-h-8 items-center gap-3 max-md:min-h-11',
        wide && 'max-md:flex-col max-md:items-stretch max-md:gap-1',
      )}
    >
      <span className="w-20 shrink-0 text-12 text-fg2">{label}</span>
      <div className="min-w-0 flex-1">{children}</div>
    </div>
  )
}

/** The tempo itself, by number and by hand. */
function Beat() {
  const { on, bpm, source } = useDoc(({ tempo }) => tempo)
  const midiLed = on && source === 'midi'
  const step = (by: number) => scope.music.tempo.setBpm(Math.round(bpm) + by)
  return (
    <>
      <div className="flex items-center gap-2">
        <IconButton
          label={m.slower}
          variant="outline"
          size="m"
          className="max-md:h-11 max-md:w-11"
          disabled={midiLed || bpm <= MIN_BPM}
          onClick={() => step(-1)}
        >
          <Minus size={15} aria-hidden />
        </IconButton>
        <NumberInput
          label={m.beats}
          testId="tempo-input"
          value={bpm}
          min={MIN_BPM}
          max={MAX_BPM}
          disabled={midiLed}
          className="h-9! w-22 text-center! text-16! font-semibold max-md:h-11!"
          onCommit={(next) => next !== null && scope.music.tempo.setBpm(next)}
        />
        <IconButton
          label={m.faster}
          variant="outline"
          size="m"
          className="max-md:h-11 max-md:w-11"
          disabled={midiLed || bpm >= MAX_BPM}
          onClick={() => step(1)}
        >
          <Plus size={15} aria-hidden />
        </IconButton>
        <Hint text={m.tapHint} shortcut="T">
          <Button
            variant="primary"
            size="m"
            data-testid="tempo-tap"
            data-map={commandTarget('tempo.tap')}
            className="min-w-16 flex-1 touch-manipulation max-md:h-11"
            // With the press, not when it ends: that is the beat.
            onPointerDown={(event) => event.button === 0 && tap()}
            onClick={(event) => event.detail === 0 && tap()}
          >
            {m.tap}
          </Button>
        </Hint>
      </div>
      <div className="flex items-center gap-2">
        <Hint text={m.oneHint} shortcut="Y">
          <Button
            variant="outline"
            data-testid="tempo-one"
            data-map={commandTarget('tempo.one')}
            className="flex-1 touch-manipulation max-md:h-11"
            disabled={!on || midiLed}
            onPointerDown={(event) => event.button === 0 && setOne()}
            onClick={(event) => event.detail === 0 && setOne()}
          >
            {m.one}
          </Button>
        </Hint>
        {NUDGES.map((ms) => (
          <Button
            key={ms}
            variant="outline"
            className="flex-1 max-md:h-11"
            disabled={!on || midiLed}
            title={ms < 0 ? m.earlier : m.later}
            onClick={nudge(ms)}
          >
            {ms < 0 ? `−${-ms} ms` : `+${ms} ms`}
            <span className="sr-only">{ms < 0 ? m.earlier : m.later}</span>
          </Button>
        ))}
      </div>
    </>
  )
}

/** Where the beat comes from, and whether it does. */
function SourceLine() {
  const source = useDoc(({ tempo }) => tempo.source)
  const heard = useStore(scope.music.tempo.store, (state) => state.midi)
  const device = useStore(midi.store, (state) => state.state)
  const choose = (next: string) => {
    change(next === 'midi' ? { source: 'midi', on: true } : { source: 'page' })
    if (next === 'midi') void midi.start()
  }
  const trouble = device === 'denied' || device === 'missing' || device === 'asking' ? device : null
  return (
    <>
      <Line label={m.source}>
        <Segmented
          label={m.source}
          testId="tempo-source"
          value={source}
          options={(['page', 'midi'] as const).map((value) => ({ value, label: m.sources[value] }))}
          onChange={choose}
        />
      </Line>
      {source === 'midi' && (
        <p role="status" data-testid="tempo-midi" className="-mt-1 pl-23 text-11 text-fg3">
          {m.midi[trouble ?? heard]}
        </p>
      )}
    </>
  )
}

/** How early takes are made; the time from prompt to picture is a good choice, where it has been measured. */
function Lookahead() {
  const lookaheadMs = useDoc(({ tempo }) => tempo.lookaheadMs)
  const [measured] = useState(() => Math.round(scope.meters.latency?.ms ?? 0))
  return (
    <div className="flex items-center gap-2" title={m.lookaheadHint}>
      <NumberInput
        label={`${m.lookahead}, ${m.ms}`}
        testId="tempo-lookahead"
        integer
        value={lookaheadMs}
        min={0}
        max={MAX_LOOKAHEAD_MS}
        step={10}
        className="w-16"
        onCommit={(next) => change({ lookaheadMs: next ?? 0 })}
      />
      <span className="text-11 text-fg3">{m.ms}</span>
      {measured > 0 && measured !== lookaheadMs && (
        <Button
          variant="outline"
          className="ml-auto max-md:h-11"
          onClick={() => change({ lookaheadMs: Math.min(MAX_LOOKAHEAD_MS, measured) })}
        >
          {m.measured(measured)}
        </Button>
      )}
    </div>
  )
}

function Settings() {
  const { quantize, countIn, beatsPerBar } = useDoc(({ tempo }) => tempo)
  return (
    <>
      <Line label={m.perBar}>
        <NumberInput
          label={m.perBar}
          testId="tempo-bar"
          integer
          value={beatsPerBar}
          min={1}
          max={MAX_BEATS_PER_BAR}
          className="w-16"
          onCommit={(next) => next !== null && change({ beatsPerBar: next })}
        />
      </Line>
      <SourceLine />
      <Line label={m.quantize} wide>
        <Segmented
          label={m.quantize}
          testId="tempo-quantize"
          value={quantize}
          options={GRIDS.map((value) => ({ value, label: m.grids[value] }))}
          onChange={(next) => change({ quantize: next as Grid })}
        />
      </Line>
      <Line label={m.lookahead}>
        <Lookahead />
      </Line>
      <Line label={m.countIn}>
        <Segmented
          label={m.countIn}
          testId="tempo-count-in"
          value={String(countIn)}
          options={m.countIns.map((label, bars) => ({ value: String(bars), label }))}
          onChange={(next) => change({ countIn: Number(next) })}
        />
      </Line>
    </>
  )
}

/** Where the pipeline has something to forget. */
function Resets() {
  const reset = useDoc(({ tempo }) => tempo.reset)
  const chain = useChain()
  if (!chain.some(({ pipeline }) => pipeline.supports_cache_management)) return null
  return (
    <Line label={m.reset}>
      <span title={m.resetHint}>
        <Select
          label={m.reset}
          testId="tempo-reset"
          value={reset}
          options={GRIDS.map((value) => ({ value, label: m.resets[value] }))}
          onChange={(next) => change({ reset: next as Grid })}
        />
      </span>
    </Line>
  )
}

/** Everything about musical time in one place. */
export function TempoPanel() {
  const on = useDoc(({ tempo }) => tempo.on)
  return (
    <>
      <div className="flex h-12 shrink-0 items-center gap-3 border-b border-line px-4">
        <h2 className="text-14 font-semibold">{m.title}</h2>
        <span className="ml-auto">
          <Switch label={m.on} testId="tempo-on" checked={on} onChange={toggleTempo} />
        </span>
      </div>
      <div className="flex flex-col gap-2.5 px-4 py-3">
        <Beat />
        <Settings />
        <Resets />
      </div>
      <ModulationList />
    </>
  )
}
