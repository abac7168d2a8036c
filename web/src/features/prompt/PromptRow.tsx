import { Lock, LockOpen, X } from 'lucide-react'
import { type KeyboardEvent, useLayoutEffect, useRef } from 'react'
import { uiStore } from '../../app'
import {
  changeWeight,
  removePrompt,
  revertDraft,
  samePrompts,
  setText,
  toggleLock,
  wirePrompts,
} from '../../doc/prompts'
import { changeDoc, docStore } from '../../doc/store'
import { useDoc } from '../../hooks'
import { t } from '../../messages'
import { IconButton } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { Slider } from '../../ui/Slider'
import { Ghost } from '../control/Ghost'
import { weightTarget } from '../control/ids'
import { storeDraft, takeDraft } from './commands'
import { openHistory } from './historyUi'

const MAX_HEIGHT = 96

/** ↑ in an empty box shows earlier prompts; in one of them it walks back. */
function recallHistory(index: number): boolean {
  const { draft, history } = docStore.getState()
  const current = draft[index]?.text ?? ''
  if (current === '') return openHistory(index)
  const position = history.indexOf(current)
  const older = position < 0 ? undefined : history[position + 1]
  if (older === undefined) return false
  changeDoc(setText(index, older))
  return true
}

function onKey(event: KeyboardEvent<HTMLTextAreaElement>, index: number): void {
  if (event.nativeEvent.isComposing) return
  if (event.key === 'Enter' && !event.shiftKey) {
    event.preventDefault()
    if (event.ctrlKey || event.metaKey) storeDraft()
    else takeDraft(event.altKey)
  } else if (event.key === 'Escape') {
    // Reverts what was typed; with nothing to revert it leaves the box, so that single keys work again.
    const { draft, onAir } = docStore.getState()
    if (samePrompts(wirePrompts(draft), onAir)) event.currentTarget.blur()
    else changeDoc(revertDraft)
    uiStore.setState({ editingSlot: null })
  } else if (event.key === 'ArrowUp' && event.currentTarget.selectionStart === 0 && recallHistory(index)) {
    event.preventDefault()
  }
}

function Weight({ index, fader }: { index: number; fader: boolean }) {
  const { weight, locked } = useDoc((doc) => {
    const prompt = doc.draft[index]
    return { weight: prompt?.weight ?? 0, locked: prompt?.locked ?? false }
  })
  return (
    <div
      data-map={weightTarget(index)}
      className={cx('flex shrink-0 items-center gap-1.5 max-md:w-auto max-md:flex-1', !fader && 'w-44')}
    >
      {!fader && (
        <Slider
          label={t.prompt.weight(index + 1)}
          valueText={t.prompt.weightText(weight)}
          testId={`weight-${index}`}
          value={weight}
          min={0}
          max={100}
          step={1}
          disabled={locked}
          mark={<Ghost target={weightTarget(index)} />}
          onChange={(value) => changeDoc(changeWeight(index, value))}
        />
      )}
      {fader && <span className="ml-auto text-11 font-semibold text-fg3">{t.prompt.letter[index]}</span>}
      <span data-testid={`weight-value-${index}`} className="num w-7 text-right text-12">
        {weight}
      </span>
      <IconButton
        label={locked ? t.prompt.unlock(index + 1) : t.prompt.lock(index + 1)}
        aria-pressed={locked}
        className={locked ? 'text-accent' : ''}
        onClick={() => changeDoc(toggleLock(index))}
      >
        {locked ? <Lock size={14} aria-hidden /> : <LockOpen size={14} aria-hidden />}
      </IconButton>
    </div>
  )
}

export function PromptRow({ index, count }: { index: number; count: number }) {
  const text = useDoc((doc) => doc.draft[index]?.text ?? '')
  const box = useRef<HTMLTextAreaElement>(null)
  // biome-ignore lint/correctness/useExhaustiveDependencies: the height follows the text
  useLayoutEffect(() => {
    const node = box.current
    if (!node) return
    node.style.height = '0'
    node.style.height = `${Math.min(MAX_HEIGHT, Math.max(36, node.scrollHeight + 2))}px`
  }, [text])
  return (
    <div className={cx('flex items-start gap-2', count > 2 && 'max-md:flex-wrap')}>
      <textarea
        ref={box}
        rows={1}
        data-testid={`prompt-input-${index}`}
        aria-label={t.prompt.label(index + 1, count)}
        title={t.prompt.help}
        placeholder={t.prompt.placeholder}
        value={text}
        spellCheck={false}
        onChange={(event) => changeDoc(setText(index, event.target.value))}
        onKeyDown={(event) => onKey(event, index)}
        className="min-w-40 flex-1 resize-none rounded-1 border border-edge bg-bg0 px-3 py-[7px] text-14 leading-5 text-fg1 hover:border-fg3 focus-visible:border-accent"
      />
      {count > 1 && (
        <div className={cx('flex h-9 items-center gap-0.5', count > 2 && 'max-md:w-full')}>
          <Weight index={index} fader={count === 2} />
          <IconButton label={t.prompt.remove(index + 1)} onClick={() => changeDoc(removePrompt(index))}>
            <X size={14} aria-hidden />
          </IconButton>
        </div>
      )}
    </div>
  )
}
