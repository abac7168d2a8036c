import { CornerDownLeft, Plus, Scissors, Undo2 } from 'lucide-react'
import { useStore } from 'zustand'
import { scope } from '../../app'
import { MAX_PROMPTS } from '../../doc/model'
import { addPrompt, revertDraft, samePrompts, tokenEstimate, wirePrompts } from '../../doc/prompts'
import { changeDoc } from '../../doc/store'
import { useAir, useDoc, useLayout, usePipeline, usePrompted, useUi } from '../../hooks'
import { t } from '../../messages'
import { Button, Hint, IconButton } from '../../ui/Button'
import { Switch } from '../../ui/controls'
import { cx } from '../../ui/cx'
import { commandTarget } from '../control/ids'
import { BankSwitch } from '../deck/Deck'
import { TempoButton } from '../tempo/TempoButton'
import { WaitingChip } from '../tempo/WaitingChip'
import { Chips } from './Chips'
import { Crossfader } from './Crossfader'
import { takeDraft } from './commands'
import { History } from './History'
import { PromptRow } from './PromptRow'
import { TransitionControl } from './TransitionControl'

function AirChip() {
  const active = useAir()
  const prompted = usePrompted()
  const same = useDoc((doc) => samePrompts(wirePrompts(doc.draft), doc.onAir))
  if (!active) {
    return (
      <span data-testid="air-state" data-state={prompted ? 'ready' : 'unused'} className="text-11 text-fg3">
        {prompted ? t.prompt.ready : t.prompt.unused}
      </span>
    )
  }
  return (
    <span
      data-testid="air-state"
      data-state={same ? 'on-air' : 'edited'}
      className={cx(
        'flex items-center gap-1.5 rounded-full border px-2 py-px text-11 font-medium',
        same ? 'border-ok/70 text-ok' : 'border-warn/70 text-warn',
      )}
    >
      <span className={cx('h-1.5 w-1.5 rounded-full', same ? 'bg-ok' : 'bg-warn')} aria-hidden />
      {same ? t.prompt.onAir : t.prompt.edited}
    </span>
  )
}

/** Shown when a prompt is so long that it matters; nothing is ever refused. */
const TOKENS_SHOWN = 120
const TOKENS_READ = 512

function TokenNote() {
  const tokens = useDoc((doc) => Math.max(...doc.draft.map(({ text }) => tokenEstimate(text))))
  if (tokens < TOKENS_SHOWN) return null
  const many = tokens > TOKENS_READ
  return (
    <p data-testid="tokens" className={cx('text-11', many ? 'text-warn' : 'text-fg3')}>
      {many ? t.prompt.tokensMany(tokens, TOKENS_READ) : t.prompt.tokens(tokens)}
    </p>
  )
}

export function PromptPanel({ compact = false }: { compact?: boolean }) {
  const ids = useDoc((doc) => doc.draft.map((prompt) => prompt.id))
  const cue = useDoc((doc) => doc.cue)
  const edited = useDoc((doc) => !samePrompts(wirePrompts(doc.draft), doc.onAir))
  const editingSlot = useUi((ui) => ui.editingSlot)
  const layout = useLayout()
  const waiting = useStore(scope.music.quantiser.store, (state) => state.waiting !== null)
  const pipeline = usePipeline()
  const unused = pipeline !== null && !pipeline.supports_prompts
  return (
    <section aria-label={t.prompt.title} className="flex shrink-0 flex-col gap-2 bg-bg1 px-3 py-2.5">
      <div className="flex h-7 items-center gap-2.5">
        <h2 className="panel-title">{t.prompt.title}</h2>
        {!(compact && waiting) && <AirChip />}
        <WaitingChip compact={compact} />
        {edited && (
          <IconButton label={t.prompt.revert} shortcut="Esc" onClick={() => changeDoc(revertDraft)}>
            <Undo2 size={14} aria-hidden />
          </IconButton>
        )}
        <div className="ml-auto flex items-center gap-1.5">
          {ids.length > 1 && (
            <Hint text={t.prompt.cueHint}>
              <span className="flex items-center gap-1.5 text-12 text-fg2">
                {t.prompt.cue}
                <Switch
                  label={t.prompt.cue}
                  checked={cue}
                  onChange={(next) => changeDoc((doc) => ({ ...doc, cue: next }))}
                />
              </span>
            </Hint>
          )}
          <History compact={compact} />
          <Hint text={t.prompt.addHint}>
            <Button
              variant="ghost"
              data-testid="add-prompt"
              disabled={ids.length >= MAX_PROMPTS}
              onClick={() => changeDoc(addPrompt)}
              aria-label={t.prompt.add}
            >
              <Plus size={14} aria-hidden />
              {!compact && t.prompt.add}
            </Button>
          </Hint>
        </div>
      </div>
      <div className="flex gap-2.5 max-md:flex-col">
        <div className="flex min-w-0 flex-1 flex-col gap-1.5">
          {ids.map((id, index) => (
            <PromptRow key={id} index={index} count={ids.length} />
          ))}
          {ids.length === 2 && <Crossfader />}
          <TokenNote />
        </div>
        <div className="flex w-52 shrink-0 flex-col gap-1.5 max-md:w-full max-md:flex-row max-md:items-center">
          <div className="flex gap-1.5">
            <Hint text={t.prompt.takeHint} shortcut="Enter">
              <Button
                variant={unused ? 'outline' : 'primary'}
                data-testid="take-button"
                data-map={commandTarget('take')}
                className="h-9 flex-1 text-13 max-md:h-11 max-md:px-6"
                onClick={() => takeDraft(false)}
              >
                {t.prompt.take}
                <CornerDownLeft size={14} className="opacity-80 max-md:hidden" aria-hidden />
              </Button>
            </Hint>
            {!unused && (
              <Hint text={t.prompt.hardCutHint} shortcut="Alt+Enter">
                <Button
                  variant="outline"
                  aria-label={t.prompt.hardCut}
                  data-testid="hard-cut-button"
                  data-map={commandTarget('hardCut')}
                  square
                  size="m"
                  className="max-md:h-11 max-md:w-11"
                  onClick={() => takeDraft(true)}
                >
                  <Scissors size={15} aria-hidden />
                </Button>
              </Hint>
            )}
          </div>
          <TransitionControl />
        </div>
      </div>
      {unused && <p className="text-12 text-fg2">{t.prompt.noPrompts(pipeline.name)}</p>}
      {editingSlot !== null && <p className="text-12 text-accent">{t.deck.editing(editingSlot + 1)}</p>}
      <div className="flex min-w-0 items-center gap-3">
        <div className="min-w-0 flex-1">
          <Chips />
        </div>
        {!compact && <BankSwitch />}
        {layout !== 'wide' && <TempoButton compact={compact} />}
      </div>
    </section>
  )
}
