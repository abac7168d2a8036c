import {
  AppWindow,
  Box,
  Circle,
  Cog,
  Images,
  type LucideIcon,
  MonitorPlay,
  RadioTower,
  Sparkles,
  Type,
  Video,
  Wand,
} from 'lucide-react'
import { useEffect, useId, useMemo, useRef, useState } from 'react'
import { scope } from '../../app'
import { useLayout } from '../../hooks'
import { t } from '../../messages'
import { cx } from '../../ui/cx'
import { minutes } from '../../ui/format'
import { Painted } from '../../ui/Painted'
import type { Flow, FlowKind, FlowNode, FlowState } from './flow'
import { type Line, spotsOf } from './layers'
import { NUMBERS } from './numbers'
import { goTo } from './places'

const ICONS: Record<FlowKind, LucideIcon> = {
  source: Video,
  prompt: Type,
  loras: Sparkles,
  references: Images,
  processor: Wand,
  pipeline: Cog,
  sink: RadioTower,
  stage: MonitorPlay,
  window: AppWindow,
  recording: Circle,
  other: Box,
}
const TONES: Record<FlowState, string> = {
  idle: 'text-fg3',
  runs: 'text-ok',
  waits: 'text-warn',
  missing: 'text-warn',
  off: 'text-fg3',
  ignored: 'text-fg3',
}

const recorded = () => minutes(Date.now() - scope.recorder.store.getState().since)

function Card({ node, next, live }: { node: FlowNode; next: readonly string[]; live: boolean }) {
  const { kind, name, note, state } = node
  const id = useId()
  const Icon = ICONS[kind]
  const kindName = t.graph.kinds[kind]
  const numbers = live && state === 'runs' ? (NUMBERS[kind] ?? []) : []
  const word = t.graph.states[state]
  const body = (
    <>
      <span className="flex items-center gap-1.5 text-11 text-fg3">
        <Icon size={13} className="shrink-0" aria-hidden />
        <span className="mr-auto truncate">{name === kindName ? '' : kindName}</span>
        {word && <span className={cx('shrink-0 font-medium', TONES[state])}>{word}</span>}
      </span>
      <span id={id} className="truncate text-13 font-semibold text-fg1" title={name}>
        {name}
      </span>
      {note && (
        <span id={`${id}-note`} className="text-11 text-fg2 [overflow-wrap:anywhere]">
          {note}
        </span>
      )}
      {numbers.map((paint) => (
        <Painted key={String(numbers.indexOf(paint))} paint={paint} className="num text-11 text-fg2" />
      ))}
      {kind === 'recording' && state === 'runs' && <Painted paint={recorded} className="num text-11 text-live" />}
      {next.length > 0 && <span className="sr-only">{t.graph.leads(next.join(', '))}</span>}
    </>
  )
  const look = cx(
    'relative flex w-36 min-w-0 flex-col gap-0.5 rounded-2 border bg-bg2 px-2.5 py-2 text-left max-md:min-h-11 max-md:w-full',
    kind === 'pipeline' ? 'border-accent' : 'border-edge',
    (state === 'off' || state === 'ignored') && 'border-dashed bg-bg1',
  )
  if (kind === 'other' || state === 'ignored') return <div className={look}>{body}</div>
  return (
    <button type="button" className={cx(look, 'hover:bg-bg3')} onClick={() => goTo(node)}>
      {body}
    </button>
  )
}

interface Drawn {
  d: string
  values: boolean
}

/** From the edge of one box to that of the other, as a soft curve. */
function curve(from: DOMRect, to: DOMRect, base: DOMRect, down: boolean): string {
  const [x1, y1] = down
    ? [from.left + from.width / 2, from.bottom]
    : [from.right, from.top + Math.min(from.height / 2, 40)]
  const [x2, y2] = down ? [to.left + to.width / 2, to.top] : [to.left, to.top + Math.min(to.height / 2, 40)]
  const at = (x: number, y: number) => `${Math.round(x - base.left)} ${Math.round(y - base.top)}`
  const bend = down ? (y2 - y1) / 2 : (x2 - x1) / 2
  const [c1, c2] = down ? [at(x1, y1 + bend), at(x2, y2 - bend)] : [at(x1 + bend, y1), at(x2 - bend, y2)]
  return `M${at(x1, y1)} C${c1} ${c2} ${at(x2, y2)}`
}

/** The lines between the boxes, measured anew when anything changes its size. */
function useLines(list: React.RefObject<HTMLElement | null>, lines: readonly Line[], down: boolean): readonly Drawn[] {
  const [drawn, setDrawn] = useState<readonly Drawn[]>([])
  useEffect(() => {
    const root = list.current
    if (!root) return
    const measure = () => {
      const base = root.getBoundingClientRect()
      const boxes = new Map([...root.children].map((box) => [(box as HTMLElement).dataset.node, box.firstElementChild]))
      const next = lines.flatMap(({ from, to, values }): Drawn[] => {
        const [a, b] = [boxes.get(from), boxes.get(to)]
        return a && b ? [{ d: curve(a.getBoundingClientRect(), b.getBoundingClientRect(), base, down), values }] : []
      })
      setDrawn((now) => (now.map(({ d }) => d).join() === next.map(({ d }) => d).join() ? now : next))
    }
    const observer = new ResizeObserver(measure)
    observer.observe(root)
    for (const box of root.children) observer.observe(box)
    measure()
    return () => observer.disconnect()
  }, [list, lines, down])
  return drawn
}

/** A graph as boxes and lines: from left to right, on a phone from top to bottom. Read in the order in which pictures pass. */
export function FlowView({ flow, label, live }: { flow: Flow; label: string; live: boolean }) {
  const down = useLayout() === 'narrow'
  const list = useRef<HTMLOListElement>(null)
  const arrow = useId()
  const { nodes, lines } = flow
  const spots = useMemo(
    () =>
      spotsOf(
        nodes.map(({ id }) => id),
        lines,
      ),
    [nodes, lines],
  )
  const drawn = useLines(list, lines, down)
  const spotOf = (id: string) => spots.get(id) ?? { layer: 0, row: 0 }
  const ordered = [...nodes].sort(
    (a, b) => spotOf(a.id).layer - spotOf(b.id).layer || spotOf(a.id).row - spotOf(b.id).row,
  )
  const columns = 1 + Math.max(0, ...[...spots.values()].map(({ row }) => row))
  const alone = (layer: number) => [...spots.values()].filter((spot) => spot.layer === layer).length === 1
  const nameOf = new Map(nodes.map(({ id, name }) => [id, name]))
  return (
    <div className="relative w-max min-w-full p-4 max-md:w-full">
      <svg className="pointer-events-none absolute inset-0 h-full w-full" aria-hidden>
        <defs>
          <marker
            id={arrow}
            viewBox="0 0 8 8"
            refX="7"
            refY="4"
            markerUnits="userSpaceOnUse"
            markerWidth="9"
            markerHeight="9"
            orient="auto"
          >
            <path d="M0 0 8 4 0 8z" className="fill-edge" />
          </marker>
        </defs>
        <g transform="translate(16 16)">
          {drawn.map(({ d, values }) => (
            <path
              key={d}
              d={d}
              fill="none"
              className="stroke-edge"
              strokeWidth={values ? 1 : 2}
              strokeDasharray={values ? '4 3' : undefined}
              markerEnd={`url(#${arrow})`}
            />
          ))}
        </g>
      </svg>
      <ol
        ref={list}
        aria-label={label}
        data-testid="flow"
        className="relative m-0 grid w-max list-none items-start gap-x-7 gap-y-3 p-0 max-md:w-full max-md:gap-x-2 max-md:gap-y-7"
        style={down ? { gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` } : undefined}
      >
        {ordered.map((node) => {
          const { layer, row } = spotOf(node.id)
          return (
            <li
              key={node.id}
              data-node={node.id}
              data-testid={`flow-${node.id}`}
              data-state={node.state}
              className="min-w-0"
              style={
                down
                  ? { gridRow: layer + 1, gridColumn: alone(layer) ? '1 / -1' : row + 1 }
                  : { gridColumn: layer + 1, gridRow: row + 1 }
              }
            >
              <Card
                node={node}
                live={live}
                next={lines.filter(({ from }) => from === node.id).flatMap(({ to }) => nameOf.get(to) ?? [])}
              />
            </li>
          )
        })}
      </ol>
    </div>
  )
}
