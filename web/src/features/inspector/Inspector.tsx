import { ChevronDown, Pin, RotateCcw, Search } from 'lucide-react'
import { useMemo, useState } from 'react'
import { useStore } from 'zustand'
import { scope } from '../../app'
import { sectionsOf } from '../../engine/chain'
import { filesOf } from '../../engine/models'
import { useChain, useDoc, useModels, useNeeds, useOnScreen } from '../../hooks'
import { t } from '../../messages'
import { type Field, keysOf, type Section } from '../../schema/plan'
import { Button, IconButton } from '../../ui/Button'
import { TextInput } from '../../ui/fields'
import { anchorOf } from '../graph/places'
import { MissingModels } from '../models/MissingModels'
import { FieldRow } from './FieldRow'
import { NodeContext } from './node'
import { PendingBar } from './PendingBar'
import { PipelineFiles, PipelineSelect } from './PipelineSelect'
import { Processors } from './Processors'
import { pinStore } from './pins'

const SEARCH_FROM = 6

function matching(sections: readonly Section[], query: string): Section[] {
  const wanted = query.trim().toLowerCase()
  if (wanted === '') return [...sections]
  const hit = (field: Field) => `${field.label} ${field.key} ${field.description}`.toLowerCase().includes(wanted)
  return sections
    .map((section) => ({ ...section, fields: section.fields.filter(hit) }))
    .filter((section) => section.fields.length > 0)
}

const keepsCache = ({ key }: Field) => key === 'manage_cache'

function CacheReset() {
  const onScreen = useOnScreen()
  return (
    <Button variant="outline" className="w-full" disabled={!onScreen} onClick={() => scope.resetCache()}>
      {t.inspector.resetCache}
    </Button>
  )
}

/** Guiding by pictures takes files of its own, which come when they are wanted. */
function GuideFiles() {
  const chain = useChain()
  const main = useMemo(() => chain.filter(({ role }) => role === 'main'), [chain])
  const [need] = useNeeds(main)
  const model = useModels(({ models }) => (need ? models[need.pipelineId] : undefined))
  if (!need?.vace || !model) return null
  const [wanted, plain] = [filesOf(model, need), filesOf(model, { ...need, vace: false })]
  if (wanted.state === 'complete' || plain.state !== 'complete') return null
  return (
    <div role="status" className="rounded-1 border border-warn/70 bg-warn/10 p-2.5">
      <p className="text-12 text-fg1">{t.inspector.vaceFiles}</p>
      <MissingModels start={false} />
    </div>
  )
}

function SectionView({ section, cache }: { section: Section; cache: boolean }) {
  const plain = section.fields.filter((field) => !field.advanced)
  const advanced = section.fields.filter((field) => field.advanced)
  return (
    <details open className="group border-t border-line">
      <summary
        id={anchorOf(section.id)}
        className="flex h-9 list-none items-center gap-2 px-3 text-12 font-semibold text-fg2 select-none hover:text-fg1 focus-visible:-outline-offset-2"
      >
        <ChevronDown size={14} className="-rotate-90 text-fg3 group-open:rotate-0" aria-hidden />
        <h3 className="text-12 font-semibold">{t.inspector.sections[section.id]}</h3>
      </summary>
      <div className="flex flex-col gap-3 px-3 pt-0.5 pb-3.5">
        {plain.map((field) => (
          <FieldRow key={field.key} field={field} />
        ))}
        {section.id === 'guide' && <GuideFiles />}
        {cache && section.fields.some(keepsCache) && <CacheReset />}
        {advanced.length > 0 && (
          <details>
            <summary className="mb-2 text-11 text-fg3">{t.inspector.advanced}</summary>
            <div className="flex flex-col gap-3">
              {advanced.map((field) => (
                <FieldRow key={field.key} field={field} />
              ))}
            </div>
          </details>
        )}
      </div>
    </details>
  )
}

/** What the user has put on top, in the order of pinning. */
function Pinned({ fields }: { fields: readonly Field[] }) {
  if (fields.length === 0) return null
  return (
    <section aria-label={t.inspector.pinned} data-testid="pinned" className="border-t border-line bg-bg2/50">
      <h3 className="flex h-9 items-center gap-2 px-3 text-12 font-semibold text-accent">
        <Pin size={13} aria-hidden />
        {t.inspector.pinned}
      </h3>
      <div className="flex flex-col gap-3 px-3 pt-0.5 pb-3.5">
        {fields.map((field) => (
          <FieldRow key={field.key} field={field} />
        ))}
      </div>
    </section>
  )
}

const without = (sections: readonly Section[], keys: readonly string[]): Section[] =>
  sections
    .map((section) => ({ ...section, fields: section.fields.filter(({ key }) => !keys.includes(key)) }))
    .filter((section) => section.fields.length > 0)

const NO_PINS: readonly string[] = []

export function Inspector() {
  const node = useChain().find(({ role }) => role === 'main')
  const pipeline = node?.pipeline
  const [query, setQuery] = useState('')
  const sections = useMemo(() => (node ? sectionsOf(node) : []), [node])
  const changed = useDoc((doc) => (node ? Object.keys(doc.params[node.id] ?? {}).length > 0 : false))
  const fields = sections.flatMap((section) => section.fields)
  const pins = useStore(pinStore, (all) => (pipeline && all[pipeline.id]) || NO_PINS)
  const pinned = pins.flatMap((key) => fields.filter((field) => field.key === key))
  const shown = query.trim() === '' ? without(sections, pins) : matching(sections, query)
  return (
    <div className="flex min-h-full flex-col">
      <div id={anchorOf('pipeline')} tabIndex={-1} className="flex flex-col gap-2 p-3 focus-visible:-outline-offset-2">
        <h2 className="panel-title">{t.inspector.pipeline}</h2>
        <PipelineSelect />
        {pipeline?.description && <p className="text-12 text-fg2">{pipeline.description}</p>}
        <PipelineFiles />
      </div>
      <PendingBar />
      <Processors />
      <div className="flex items-center gap-2 px-3 pb-2">
        <h2 className="panel-title mr-auto">{t.inspector.title}</h2>
        <IconButton
          label={t.inspector.resetAll}
          disabled={!changed}
          onClick={() => node && scope.resetParams(node, fields.flatMap(keysOf), t.inspector.resetAll)}
        >
          <RotateCcw size={14} aria-hidden />
        </IconButton>
      </div>
      {fields.length >= SEARCH_FROM && (
        <div className="relative mx-3 mb-3">
          <Search size={14} className="absolute top-1/2 left-2 -translate-y-1/2 text-fg3" aria-hidden />
          <TextInput
            type="search"
            aria-label={t.inspector.search}
            placeholder={t.inspector.search}
            className="w-full pl-7"
            value={query}
            onChange={(event) => setQuery(event.target.value)}
          />
        </div>
      )}
      {node && (
        <NodeContext value={node}>
          {query.trim() === '' && <Pinned fields={pinned} />}
          {shown.map((section) => (
            <SectionView key={section.id} section={section} cache={node.pipeline.supports_cache_management} />
          ))}
          {node.pipeline.supports_cache_management && !fields.some(keepsCache) && (
            <div className="border-t border-line p-3">
              <CacheReset />
            </div>
          )}
        </NodeContext>
      )}
      {pipeline && shown.length + pinned.length === 0 && (
        <p className="px-3 py-2 text-12 text-fg3">{fields.length === 0 ? t.inspector.noFields : t.inspector.noMatch}</p>
      )}
    </div>
  )
}
