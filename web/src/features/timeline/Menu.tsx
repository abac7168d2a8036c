import { Check } from 'lucide-react'
import { ContextMenu, DropdownMenu } from 'radix-ui'
import { useStore } from 'zustand'
import { COLORS } from '../../doc/timeline'
import { useDoc } from '../../hooks'
import { t } from '../../messages'
import { Kbd } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { chordLabel } from '../shell/chords'
import { keymapStore, keysOf } from '../shell/keymap'
import * as actions from './actions'
import { BLOCK_COLORS } from './colors'
import { copyOut, pasteIn, timelineCommands } from './commands'
import { viewStore } from './view'

/** The parts that menus of both kinds are made of. */
export const CONTEXT_KIT = ContextMenu
export const DROPDOWN_KIT = DropdownMenu as unknown as typeof ContextMenu
type Kit = Pick<typeof ContextMenu, 'Item' | 'Separator' | 'RadioGroup' | 'RadioItem'>

export const MENU_CLASS =
  'z-50 max-h-[min(var(--radix-context-menu-content-available-height,80vh),var(--radix-dropdown-menu-content-available-height,80vh))] min-w-56 overflow-y-auto rounded-1 border border-edge bg-bg2 p-1 text-12 text-fg1 shadow-xl shadow-black/50'
export const ITEM_CLASS =
  'flex min-h-7 cursor-pointer items-center gap-3 rounded-[3px] px-2 py-1 outline-none select-none data-[disabled]:text-fg3 data-[highlighted]:bg-bg3 max-md:min-h-11 max-md:text-14'

/** Without it, only what was copied on this page can be pasted from a menu. */
const canLook = typeof navigator.clipboard?.readText === 'function'

interface ItemProps {
  kit: Kit
  label: string
  /** The command whose keys it shows. */
  command?: string
  disabled?: boolean
  checked?: boolean
  run(): void
}

function Item({ kit, label, command, disabled = false, checked = false, run }: ItemProps) {
  const own = useStore(keymapStore)
  const entry = timelineCommands.find(({ id }) => id === `timeline.${command}`)
  const key = entry ? keysOf(entry, own)[0] : undefined
  return (
    <kit.Item className={ITEM_CLASS} disabled={disabled} onSelect={() => run()}>
      {label}
      {checked && <Check size={14} className="text-accent" aria-hidden />}
      {key && (
        <span className="ml-auto pl-4 max-md:hidden">
          <Kbd>{chordLabel(key)}</Kbd>
        </span>
      )}
    </kit.Item>
  )
}

/** What can be done with the selection; the same commands as the keys and buttons. */
export function MenuItems({ kit }: { kit: Kit }) {
  const { selection, copies } = useStore(viewStore)
  const { blocks, loop } = useDoc(({ blocks, loop }) => ({ blocks, loop }))
  const chosen = blocks.filter(({ id }) => selection.includes(id))
  const none = chosen.length === 0
  const [first] = chosen
  const locked = !none && chosen.every((block) => block.locked)
  const hard = !none && chosen.every(({ cut }) => cut === 'hard')
  const separator = <kit.Separator className="my-1 h-px bg-line" />
  return (
    <>
      <Item
        kit={kit}
        label={t.timeline.edit}
        command="edit"
        disabled={none || locked}
        run={() => actions.editing('prompt')}
      />
      <Item
        kit={kit}
        label={t.timeline.rename}
        command="rename"
        disabled={none || locked}
        run={() => actions.editing('label')}
      />
      <Item kit={kit} label={t.timeline.toPrompt} disabled={none} run={actions.toPromptBox} />
      <Item kit={kit} label={t.timeline.playHere} command="playHere" run={actions.playHere} />
      {separator}
      <Item kit={kit} label={t.timeline.split} command="split" run={() => actions.splitHere()} />
      <Item kit={kit} label={t.timeline.duplicate} command="duplicate" disabled={none} run={actions.duplicate} />
      <Item kit={kit} label={t.timeline.copy} command="copy" disabled={none} run={copyOut(actions.copy)} />
      <Item kit={kit} label={t.timeline.cut} command="cut" disabled={none || locked} run={copyOut(actions.cut)} />
      <Item
        kit={kit}
        label={t.timeline.paste}
        command="paste"
        disabled={copies.length === 0 && !canLook}
        run={pasteIn}
      />
      <Item kit={kit} label={t.timeline.remove} command="remove" disabled={none || locked} run={actions.remove} />
      <Item
        kit={kit}
        label={t.timeline.removeClose}
        command="removeClose"
        disabled={none || locked}
        run={actions.removeClose}
      />
      {separator}
      <kit.RadioGroup
        aria-label={t.timeline.color}
        value={String(first?.color ?? '')}
        onValueChange={(value) => actions.recolor(Number(value))()}
        className="flex gap-0.5 px-1 py-0.5"
      >
        {Array.from({ length: COLORS }, (_, i) => (
          <kit.RadioItem
            // biome-ignore lint/suspicious/noArrayIndexKey: a colour is its number
            key={i}
            value={String(i + 1)}
            disabled={none || locked}
            aria-label={t.timeline.colorName(i + 1)}
            className={cx(
              'grid h-6 w-6 cursor-pointer place-items-center rounded-1 border border-edge outline-none data-[disabled]:opacity-40 data-[highlighted]:border-fg1 data-[state=checked]:border-2 data-[state=checked]:border-fg1 max-md:h-9 max-md:w-8',
              BLOCK_COLORS[i],
            )}
          />
        ))}
      </kit.RadioGroup>
      <Item kit={kit} label={t.timeline.hard} disabled={none || locked} checked={hard} run={actions.recut(!hard)} />
      <Item kit={kit} label={locked ? t.timeline.unlock : t.timeline.lock} disabled={none} run={actions.toggleLock} />
      {separator}
      <Item
        kit={kit}
        label={t.timeline.loopSelection}
        command="loopSelection"
        disabled={none}
        run={actions.loopSelection}
      />
      <Item kit={kit} label={t.timeline.noLoop} disabled={loop === null} run={actions.removeLoop} />
      <Item
        kit={kit}
        label={t.timeline.fitSelection}
        command="fitSelection"
        disabled={none}
        run={actions.fitSelection}
      />
    </>
  )
}
