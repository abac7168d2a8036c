import { ContextMenu } from 'radix-ui'
import { type KeyboardEvent, useMemo, useRef, useSyncExternalStore } from 'react'
import { useStore } from 'zustand'
import { scope } from '../../app'
import { idsBetween } from '../../doc/edits'
import { docStore } from '../../doc/store'
import { blockEnd } from '../../doc/timeline'
import { useDoc } from '../../hooks'
import { t } from '../../messages'
import { cx } from '../../ui/cx'
import { cancelGesture, editing, endGesture, moveBy, selectAll } from './actions'
import { BlockView, blockId } from './BlockView'
import { cursorAt, pressFree, pressRow } from './gestures'
import { CONTEXT_KIT, MENU_CLASS, MenuItems } from './Menu'
import { select, selected, view, viewport, viewStore } from './view'

const COARSE_MS = 1000
const FINE_MS = 100

export function useTransport() {
  return useSyncExternalStore(
    (changed) => scope.transport.subscribe(changed),
    () => scope.transport.view,
  )
}

/** The blocks as they will be when the gesture in progress ends. */
function useShownBlocks() {
  const blocks = useDoc((doc) => doc.blocks)
  const gesture = useStore(viewStore, ({ gesture }) => gesture)
  return useMemo(() => (gesture ? gesture.change(blocks, scope.transport.time()).blocks : blocks), [blocks, gesture])
}

/** Goes to another block with the keyboard, and selects it or all on the way. */
function go(to: number, { shiftKey, ctrlKey, metaKey }: KeyboardEvent): void {
  const { blocks } = docStore.getState()
  const block = blocks[Math.min(blocks.length - 1, Math.max(0, to))]
  if (!block) return
  const anchor = view().anchor ?? block.id
  if (shiftKey) select(idsBetween(blocks, anchor, block.id), block.id, anchor)
  else if (ctrlKey || metaKey) viewStore.setState({ current: block.id })
  else select([block.id])
  viewport.reveal(block.startMs, blockEnd(block, scope.transport.time()))
}

function toggleCurrent(): void {
  const { current, selection } = view()
  if (current === null) return
  select(selected().has(current) ? selection.filter((id) => id !== current) : [...selection, current], current)
}

/** Keys of the list itself; everything else is a command of the page. */
function onKey(event: KeyboardEvent): void {
  const { current, gesture } = view()
  const { blocks } = docStore.getState()
  const at = blocks.findIndex(({ id }) => id === current)
  const mod = event.ctrlKey || event.metaKey
  const step = event.shiftKey ? FINE_MS : COARSE_MS
  const moving = new Map([
    ['ArrowLeft', () => moveBy(-step)],
    ['ArrowRight', () => moveBy(step)],
    ['Enter', endGesture],
    ['Escape', cancelGesture],
  ])
  const plain = new Map([
    ['ArrowLeft', () => go(at - 1, event)],
    ['ArrowUp', () => go(at - 1, event)],
    ['ArrowRight', () => go(at + 1, event)],
    ['ArrowDown', () => go(at + 1, event)],
    ['Home', () => go(0, event)],
    ['End', () => go(blocks.length - 1, event)],
    ['Enter', () => editing('prompt')],
    ['Escape', () => select([], current)],
  ])
  const withMod = new Map([
    [' ', toggleCurrent],
    ['a', selectAll],
  ])
  const run = gesture?.keys
    ? moving.get(event.key)
    : ((mod ? withMod.get(event.key.toLowerCase()) : undefined) ?? plain.get(event.key))
  if (!run) return
  event.preventDefault()
  run()
}

/** Somebody comes with the keyboard: what plays is where to begin. */
function onFocus(): void {
  const { current } = view()
  const first = scope.transport.view.activeId ?? docStore.getState().blocks[0]?.id ?? null
  if (current === null) viewStore.setState({ current: first, anchor: first })
}

export function Lane({ tall }: { tall: boolean }) {
  const blocks = useShownBlocks()
  const { scale, fromMs, toMs, selection, current, stretch, snapLine } = useStore(viewStore)
  const loop = useDoc((doc) => doc.loop)
  const markers = useDoc((doc) => doc.markers)
  const moving = useStore(viewStore, ({ gesture }) => gesture?.keys === true)
  const { activeId } = useTransport()
  const row = useRef<HTMLDivElement>(null)
  const chosen = useMemo(() => new Set(selection), [selection])
  const px = scale / 1000
  const inView = blocks
    .map((block, index) => ({ block, index }))
    .filter(
      ({ block }) => block.endMs === null || block.id === current || (block.endMs > fromMs && block.startMs < toMs),
    )
  const gaps = inView.flatMap(({ block, index }) => {
    const from = index === 0 ? 0 : (blocks[index - 1]?.endMs ?? 0)
    return block.startMs > from ? [{ from, to: block.startMs }] : []
  })
  const currentId = inView.some(({ block }) => block.id === current) && current !== null ? blockId(current) : undefined
  // Without a block it is no list.
  const list =
    blocks.length === 0
      ? {}
      : {
          tabIndex: 0,
          'aria-label': t.timeline.blocks,
          'aria-multiselectable': true,
          'aria-orientation': 'horizontal' as const,
          'aria-activedescendant': currentId,
        }
  return (
    <ContextMenu.Root>
      <ContextMenu.Trigger asChild disabled={blocks.length === 0}>
        <div className="relative bg-bg0">
          {loop?.on && (
            <div
              aria-hidden
              className="pointer-events-none absolute inset-y-0 bg-accent/10"
              style={{ left: `${loop.inMs * px}px`, width: `${(loop.outMs - loop.inMs) * px}px` }}
            />
          )}
          {/* biome-ignore lint/a11y/noStaticElementInteractions: with a block in it, it is a list */}
          <div
            ref={row}
            role={blocks.length > 0 ? 'listbox' : 'presentation'}
            {...list}
            data-testid="timeline-blocks"
            data-moving={moving}
            onKeyDown={onKey}
            onFocus={onFocus}
            onBlur={() => view().gesture?.keys && cancelGesture()}
            onPointerDown={(event) => {
              event.currentTarget.focus({ preventScroll: true, focusVisible: false } as FocusOptions)
              pressRow(event)
            }}
            onPointerMove={(event) => {
              if (event.buttons === 0) event.currentTarget.style.cursor = cursorAt(event.clientX, false)
            }}
            onDoubleClick={() => selection.length > 0 && editing('prompt')}
            className={cx(
              'group/blocks relative [touch-action:pan-x_pan-y] focus-visible:outline-offset-[-2px]',
              tall ? 'h-16' : 'h-12',
            )}
          >
            {gaps.map(({ from, to }) => (
              <div
                key={from}
                role="presentation"
                className="pointer-events-none absolute inset-y-1 bg-[repeating-linear-gradient(135deg,var(--color-line)_0_1px,transparent_1px_7px)]"
                style={{ left: `${from * px}px`, width: `${(to - from) * px}px` }}
              />
            ))}
            {inView.map(({ block, index }) => (
              <BlockView
                key={block.id}
                block={block}
                index={index}
                count={blocks.length}
                selected={chosen.has(block.id)}
                current={block.id === current}
                active={block.id === activeId}
              />
            ))}
          </div>
          {/* Below the blocks there is always room to draw a selection. */}
          <div
            role="presentation"
            className="h-2.5 cursor-crosshair [touch-action:pan-x_pan-y]"
            onPointerDown={pressFree}
          />
          {markers.map((marker) => (
            <div
              key={marker.id}
              aria-hidden
              className="pointer-events-none absolute inset-y-0 w-px bg-warn/50"
              style={{ left: `${marker.atMs * px}px` }}
            />
          ))}
          {stretch && !stretch.loop && (
            <div
              aria-hidden
              className="pointer-events-none absolute inset-y-0 z-20 border border-accent bg-accent/15"
              style={{
                left: `${Math.min(stretch.aMs, stretch.bMs) * px}px`,
                width: `${Math.abs(stretch.bMs - stretch.aMs) * px}px`,
              }}
            />
          )}
          {snapLine !== null && (
            <div
              aria-hidden
              className="pointer-events-none absolute -top-6 bottom-0 z-20 w-px bg-fg1"
              style={{ left: `${snapLine * px}px` }}
            />
          )}
        </div>
      </ContextMenu.Trigger>
      <ContextMenu.Portal>
        <ContextMenu.Content className={MENU_CLASS} collisionPadding={8} aria-label={t.timeline.region}>
          <MenuItems kit={CONTEXT_KIT} />
        </ContextMenu.Content>
      </ContextMenu.Portal>
    </ContextMenu.Root>
  )
}
