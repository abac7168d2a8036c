import {
  Check,
  Copy,
  Eraser,
  Flag,
  Locate,
  Magnet,
  MoreHorizontal,
  Pencil,
  Play,
  Redo2,
  Repeat,
  SquareSplitHorizontal,
  Trash2,
  Undo2,
  ZoomIn,
  ZoomOut,
} from 'lucide-react'
import { DropdownMenu } from 'radix-ui'
import type { ComponentType, RefObject } from 'react'
import { useStore } from 'zustand'
import { useShallow } from 'zustand/react/shallow'
import { historyStore } from '../../doc/history'
import { endOf, liveBlock } from '../../doc/timeline'
import { useDoc, useSession } from '../../hooks'
import { t } from '../../messages'
import { Button, Hint, IconButton } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { minutes } from '../../ui/format'
import { chordLabel } from '../shell/chords'
import { keymapStore, keysOf } from '../shell/keymap'
import * as actions from './actions'
import { timelineCommands } from './commands'
import { useTransport } from './Lane'
import { DROPDOWN_KIT, ITEM_CLASS, MENU_CLASS, MenuItems } from './Menu'
import { MAX_SCALE, MIN_SCALE, viewStore } from './view'

interface ToolProps {
  command: string
  icon: ComponentType<{ size: number }>
  label?: string
  tall: boolean
  disabled?: boolean
  pressed?: boolean
  testId?: string
}

/** A button for a command of the timeline. */
function Tool({ command, icon: Icon, label, tall, disabled = false, pressed, testId }: ToolProps) {
  const own = useStore(keymapStore)
  const entry = timelineCommands.find(({ id }) => id === `timeline.${command}`)
  if (!entry) return null
  const key = keysOf(entry, own)[0]
  return (
    <IconButton
      label={label ?? entry.label}
      shortcut={key && !tall ? chordLabel(key) : undefined}
      disabled={disabled}
      aria-pressed={pressed}
      data-testid={testId}
      size={tall ? 'l' : 's'}
      variant={pressed ? 'solid' : 'ghost'}
      className={pressed ? 'text-accent!' : ''}
      onClick={() => entry.run()}
    >
      <Icon size={tall ? 18 : 15} aria-hidden />
    </IconButton>
  )
}

const CHIP = {
  live: 'border-live/70 text-live',
  replay: 'border-ok/70 text-ok',
  overdub: 'border-warn/70 text-warn',
}

/** What a take would do now, and the choice what it does during replay. */
function ModeChip({ tall }: { tall: boolean }) {
  const { mode, state, cued } = useTransport()
  const append = useStore(viewStore, ({ append }) => append)
  const cutBack = useStore(viewStore, ({ cutBack }) => cutBack)
  const performing = state === 'rolling' || state === 'paused'
  const hint = mode === 'replay' && append ? t.timeline.appends : t.timeline.modeHints[mode]
  return (
    <DropdownMenu.Root>
      <Hint text={hint}>
        <DropdownMenu.Trigger asChild>
          <button
            type="button"
            data-testid="timeline-mode"
            data-mode={mode}
            className={cx(
              'rounded-full border px-2 text-11 leading-5 font-semibold tracking-wide uppercase',
              tall && 'min-h-11 min-w-16',
              performing || cued ? CHIP[mode] : 'border-edge text-fg3',
            )}
          >
            {t.timeline.modes[mode]}
          </button>
        </DropdownMenu.Trigger>
      </Hint>
      <DropdownMenu.Portal>
        <DropdownMenu.Content className={MENU_CLASS} sideOffset={4} collisionPadding={8}>
          <DropdownMenu.Label className="px-2 py-1 text-11 text-fg3">{t.timeline.takesTitle}</DropdownMenu.Label>
          <DropdownMenu.RadioGroup
            value={append ? 'append' : 'overdub'}
            onValueChange={(value) => viewStore.setState({ append: value === 'append' })}
          >
            {[['overdub', t.timeline.overdubs] as const, ['append', t.timeline.append] as const].map(
              ([value, label]) => (
                <DropdownMenu.RadioItem
                  key={value}
                  value={value}
                  className={cx(ITEM_CLASS, 'data-[state=checked]:text-accent')}
                >
                  {label}
                </DropdownMenu.RadioItem>
              ),
            )}
          </DropdownMenu.RadioGroup>
          <DropdownMenu.Separator className="my-1 h-px bg-line" />
          <DropdownMenu.CheckboxItem
            checked={cutBack}
            onCheckedChange={(next) => viewStore.setState({ cutBack: next })}
            className={cx(ITEM_CLASS, 'data-[state=checked]:text-accent')}
          >
            {t.timeline.cutBack}
            {cutBack && <Check size={14} className="ml-auto" aria-hidden />}
          </DropdownMenu.CheckboxItem>
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  )
}

function MoreMenu() {
  return (
    <DropdownMenu.Root>
      <DropdownMenu.Trigger asChild>
        <Button variant="ghost" size="l" square aria-label={t.timeline.more}>
          <MoreHorizontal size={18} aria-hidden />
        </Button>
      </DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content className={MENU_CLASS} sideOffset={4} collisionPadding={8}>
          <MenuItems kit={DROPDOWN_KIT} />
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  )
}

function History({ tall }: { tall: boolean }) {
  // A drag changes its step many times a second, and its label once.
  const last = useStore(historyStore, ({ past }) => past.at(-1)?.label)
  const next = useStore(historyStore, ({ future }) => future.at(-1)?.label)
  return (
    <>
      <Tool
        command="undo"
        testId="timeline-undo"
        icon={Undo2}
        tall={tall}
        disabled={!last}
        label={last ? t.timeline.undoNamed(last) : t.timeline.undo}
      />
      <Tool
        command="redo"
        testId="timeline-redo"
        icon={Redo2}
        tall={tall}
        disabled={!next}
        label={next ? t.timeline.redoNamed(next) : t.timeline.redo}
      />
    </>
  )
}

const Divider = () => <span className="mx-1 h-4 w-px shrink-0 bg-line" aria-hidden />

interface HeadProps {
  time: RefObject<HTMLSpanElement | null>
  bars: RefObject<HTMLSpanElement | null>
  tall: boolean
}

function Head({ time, bars, tall }: HeadProps) {
  // What is live has no end yet.
  const end = useDoc(({ blocks }) => (liveBlock(blocks) ? 0 : endOf(blocks, 0)))
  const stalled = useSession(({ state }) => state === 'stalled' || state === 'reconnecting')
  return (
    <>
      <h2 className={cx('panel-title', tall && 'sr-only')}>{t.timeline.title}</h2>
      <span className="flex items-baseline gap-1.5">
        <span ref={time} data-testid="timeline-time" className="num text-13 text-fg1" />
        <span ref={bars} data-testid="timeline-bars" className="num min-w-8 text-13 text-accent empty:hidden" />
        {end > 0 && (
          <span className="num text-11 text-fg3 max-lg:hidden" aria-hidden>
            / {minutes(end)}
          </span>
        )}
      </span>
      <ModeChip tall={tall} />
      {stalled && <span className="text-11 font-medium text-warn">{t.timeline.stalled}</span>}
    </>
  )
}

/** What the phone has below the blocks: the edits, large enough for a thumb. */
export function TouchBar() {
  const none = useStore(viewStore, ({ selection }) => selection.length === 0)
  return (
    <div className="flex items-center justify-between px-1.5 pt-1.5">
      <Tool tall command="playHere" icon={Play} />
      <Tool tall command="split" icon={SquareSplitHorizontal} />
      <Tool tall command="edit" icon={Pencil} disabled={none} />
      <Tool tall command="duplicate" icon={Copy} disabled={none} />
      <Tool tall command="remove" icon={Trash2} disabled={none} label={t.timeline.removeShort} />
      <Tool tall command="loop" icon={Repeat} />
      <MoreMenu />
    </div>
  )
}

export function Toolbar({ time, bars, tall }: HeadProps) {
  const { selection, scale, snapping, follow } = useStore(
    viewStore,
    useShallow(({ selection, scale, snapping, follow }) => ({ selection, scale, snapping, follow })),
  )
  const { count, looping } = useDoc(({ blocks, loop }) => ({ count: blocks.length, looping: loop?.on === true }))
  const none = selection.length === 0
  if (tall) {
    return (
      <div className="flex h-12 items-center gap-2 pr-1.5 pl-3">
        <Head time={time} bars={bars} tall />
        <div className="ml-auto flex items-center">
          <History tall />
          <Tool tall command="fit" icon={Locate} />
          <Tool tall command="clear" icon={Eraser} disabled={count === 0} />
        </div>
      </div>
    )
  }
  return (
    <div role="group" aria-label={t.timeline.tools} className="flex h-9 items-center gap-2 px-3">
      <Head time={time} bars={bars} tall={false} />
      <div className="ml-2 flex items-center">
        <Tool tall={false} command="playHere" icon={Play} disabled={count === 0} />
        <Tool tall={false} command="loop" icon={Repeat} pressed={looping} disabled={count === 0} />
        <Divider />
        <History tall={false} />
        <Divider />
        <Tool tall={false} command="split" icon={SquareSplitHorizontal} disabled={count === 0} />
        <Tool tall={false} command="duplicate" icon={Copy} disabled={none} />
        <Tool tall={false} command="remove" icon={Trash2} disabled={none} />
        <Tool tall={false} command="marker" icon={Flag} />
      </div>
      {selection.length > 1 && (
        <span className="text-11 text-accent max-lg:hidden">{t.timeline.selected(selection.length)}</span>
      )}
      <div className="ml-auto flex items-center">
        <Tool tall={false} command="snap" icon={Magnet} pressed={snapping} />
        <Tool tall={false} command="follow" icon={Locate} pressed={follow} />
        <Divider />
        <Tool tall={false} command="zoomOut" icon={ZoomOut} disabled={scale <= MIN_SCALE} />
        <Tool tall={false} command="zoomIn" icon={ZoomIn} disabled={scale >= MAX_SCALE} />
        <Divider />
        <Button variant="ghost" data-testid="timeline-clear" disabled={count === 0} onClick={actions.clear}>
          {t.timeline.clear}
        </Button>
      </div>
    </div>
  )
}
