import { Plus, TriangleAlert, X } from 'lucide-react'
import { Popover } from 'radix-ui'
import { useEffect, useMemo, useState } from 'react'
import { useStore } from 'zustand'
import { scope } from '../../app'
import { findLoras } from '../../engine/library'
import { t } from '../../messages'
import { type Adapter, LORA_MAX, LORA_MIN, LORA_STEP, MAX_LORAS, type MergeMode } from '../../schema/loras'
import type { Field } from '../../schema/plan'
import { Button, IconButton } from '../../ui/Button'
import { Segmented } from '../../ui/controls'
import { NumberInput, TextInput } from '../../ui/fields'
import { Slider } from '../../ui/Slider'
import { type Adapters, adapterName, addAdapter, removeAdapter, useAdaptersOf } from '../library/adapters'
import { openLibrary } from '../library/state'
import { paramId, useNode } from './node'

const texts = t.inspector.adapters
/** Rows of the list of adapters; the search finds the others. */
const MAX_OFFERED = 50

/** Chooses one of the adapters on the server. */
function AddAdapter({ adapters }: { adapters: Adapters }) {
  const items = useStore(scope.library.loras.store, (state) => state.items)
  const [open, setOpen] = useState(false)
  const [query, setQuery] = useState('')
  const used = new Set(adapters.list.map(({ path }) => path))
  const found = findLoras(items, query).filter(({ path }) => !used.has(path))
  const show = (next: boolean) => {
    setOpen(next)
    setQuery('')
    if (next) void scope.library.loras.refresh()
  }
  return (
    <Popover.Root open={open} onOpenChange={show}>
      <Popover.Trigger asChild>
        <Button
          variant="outline"
          className="w-full max-md:h-11"
          data-testid="add-adapter"
          disabled={adapters.list.length >= MAX_LORAS}
        >
          <Plus size={14} aria-hidden />
          {texts.add}
        </Button>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          align="start"
          sideOffset={4}
          collisionPadding={8}
          aria-label={texts.add}
          className="z-50 flex max-h-80 w-72 flex-col gap-2 rounded-1 border border-edge bg-bg2 p-2 shadow-xl shadow-black/50"
        >
          <TextInput
            type="search"
            aria-label={texts.search}
            placeholder={texts.search}
            value={query}
            onChange={(event) => setQuery(event.target.value)}
          />
          <ul className="m-0 min-h-0 list-none overflow-y-auto p-0">
            {found.slice(0, MAX_OFFERED).map((lora) => (
              <li key={lora.path}>
                <button
                  type="button"
                  data-testid="offered-adapter"
                  className="flex min-h-8 w-full items-center gap-2 rounded-[3px] px-2 text-left text-12 hover:bg-bg3 max-md:min-h-11"
                  onClick={() => {
                    addAdapter(adapters, lora)
                    show(false)
                  }}
                >
                  <span className="min-w-0 flex-1 truncate">{lora.name}</span>
                  {lora.folder && <span className="shrink-0 text-11 text-fg3">{lora.folder}</span>}
                </button>
              </li>
            ))}
          </ul>
          {found.length === 0 && <p className="px-1 text-12 text-fg3">{t.library.noMatch}</p>}
          <Button
            variant="ghost"
            className="max-md:h-11"
            onClick={() => {
              show(false)
              openLibrary('loras')
            }}
          >
            {texts.open}
          </Button>
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  )
}

function Row({ adapters, entry }: { adapters: Adapters; entry: Adapter }) {
  const { node, field, list } = adapters
  const { items, phase } = useStore(scope.library.loras.store)
  const name = items.find(({ path }) => path === entry.path)?.name ?? adapterName(entry.path)
  const gone = phase === 'ready' && !items.some(({ path }) => path === entry.path)
  const change = (next: Partial<Adapter>) =>
    scope.setParam(
      node,
      field.key,
      list.map((it) => (it.path === entry.path ? { ...it, ...next } : it)),
    )
  const live = entry.merge_mode === 'runtime_peft'
  return (
    <li
      data-testid="adapter"
      data-name={name}
      className="flex flex-col gap-1.5 rounded-1 border border-line bg-bg0 p-2"
    >
      <div className="flex items-center gap-1.5">
        <span className="min-w-0 flex-1 truncate text-12 font-medium" title={entry.path}>
          {name}
        </span>
        <span
          title={live ? t.inspector.liveHint : t.inspector.reloadHint}
          className={
            live
              ? 'rounded-[3px] border border-ok/50 px-1 text-11 leading-4 text-ok'
              : 'rounded-[3px] border border-line px-1 text-11 leading-4 text-fg3'
          }
        >
          {live ? t.inspector.live : t.inspector.reload}
        </span>
        <IconButton
          label={texts.remove(name)}
          className="max-md:h-11 max-md:w-11"
          onClick={() => removeAdapter(adapters, entry.path)}
        >
          <X size={14} aria-hidden />
        </IconButton>
      </div>
      {gone && (
        <p className="flex items-center gap-1.5 text-11 text-warn">
          <TriangleAlert size={12} aria-hidden />
          {texts.gone}
        </p>
      )}
      <div className="flex items-center gap-2.5">
        <Slider
          label={texts.strength(name)}
          testId={`scale-${name}`}
          value={entry.scale}
          min={LORA_MIN}
          max={LORA_MAX}
          step={LORA_STEP}
          onChange={(scale) => change({ scale: Number(scale.toFixed(3)) })}
        />
        <NumberInput
          label={texts.strength(name)}
          testId={`scale-value-${name}`}
          value={entry.scale}
          min={LORA_MIN}
          max={LORA_MAX}
          step={LORA_STEP}
          className="w-16"
          onCommit={(scale) => change({ scale: scale ?? 1 })}
        />
      </div>
      <Segmented
        label={texts.merge(name)}
        testId={`merge-${name}`}
        value={entry.merge_mode}
        options={[
          { value: 'permanent_merge', label: texts.merged },
          { value: 'runtime_peft', label: texts.runtime },
        ]}
        onChange={(mode) => change({ merge_mode: mode as MergeMode })}
      />
      <p className="text-11 text-fg3">{live ? texts.runtimeHint : texts.mergedHint}</p>
    </li>
  )
}

/** The adapters of a pipeline: which, how strong, and how they are applied. */
export default function AdaptersWidget({ field }: { field: Field }) {
  const node = useNode()
  const adapters = useAdaptersOf(node, field)
  const known = useStore(scope.library.loras.store, (state) => state.phase !== 'unknown')
  const any = (adapters?.list.length ?? 0) > 0
  useEffect(() => {
    if (any && !known) void scope.library.loras.refresh()
  }, [any, known])
  const list = useMemo(() => adapters?.list ?? [], [adapters])
  if (!adapters) return null
  return (
    <div data-testid={paramId(node, field.key)} className="flex flex-col gap-1.5">
      {list.length === 0 && <p className="text-12 text-fg3">{texts.none}</p>}
      {list.length > 0 && (
        <ul aria-label={field.label} className="m-0 flex list-none flex-col gap-1.5 p-0">
          {list.map((entry) => (
            <Row key={entry.path} adapters={adapters} entry={entry} />
          ))}
        </ul>
      )}
      <AddAdapter adapters={adapters} />
    </div>
  )
}
