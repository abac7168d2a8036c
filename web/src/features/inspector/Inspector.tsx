import { ChevronDown, RotateCcw, Search } from 'lucide-react'
import { useMemo, useState } from 'react'
import { scope } from '../../app'
import { sectionsOf } from '../../engine/chain'
import { useChain, useDoc, useOnScreen } from '../../hooks'
import { t } from '../../messages'
import type { Field, Section } from '../../schema/plan'
import { Button, IconButton } from '../../ui/Button'
import { TextInput } from '../../ui/fields'
import { FieldRow } from './FieldRow'
import { NodeContext } from './node'
import { PendingBar } from './PendingBar'
import { PipelineFiles, PipelineSelect } from './PipelineSelect'
import { Processors } from './Processors'

const SEARCH_FROM = 6
const keysOf = (field: Field) => (field.size ? [field.key, field.size.heightKey] : [field.key])

function matching(sections: readonly Section[], query: string): Section[] {
  const wanted = query.trim().toLowerCase()
  if (wanted === '') return [...sections]
  const hit = (field: Field) => `${field.label} ${field.key} ${field.description}`.toLowerCase().includes(wanted)
  return sections
    .map((section) => ({ ...section, fields: section.fields.filter(hit) }))
    .filter((section) => section.fields.length > 0)
}

function CacheReset() {
  const onScreen = useOnScreen()
  return (
    <Button variant="outline" className="w-full" disabled={!onScreen} onClick={() => scope.resetCache()}>
      {t.inspector.resetCache}
    </Button>
  )
}

function SectionView({ section, cache }: { section: Section; cache: boolean }) {
  const plain = section.fields.filter((field) => !field.advanced)
  const advanced = section.fields.filter((field) => field.advanced)
  return (
    <details open className="group border-t border-line">
      <summary className="flex h-9 list-none items-center gap-2 px-3 text-12 font-semibold text-fg2 select-none hover:text-fg1">
        <ChevronDown size={14} className="-rotate-90 text-fg3 group-open:rotate-0" aria-hidden />
        <h3 className="text-12 font-semibold">{t.inspector.sections[section.id]}</h3>
      </summary>
      <div className="flex flex-col gap-3 px-3 pt-0.5 pb-3.5">
        {plain.map((field) => (
          <FieldRow key={field.key} field={field} />
        ))}
        {section.id === 'memory' && cache && <CacheReset />}
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

export function Inspector() {
  const node = useChain().find(({ role }) => role === 'main')
  const pipeline = node?.pipeline
  const [query, setQuery] = useState('')
  const sections = useMemo(() => (node ? sectionsOf(node) : []), [node])
  const changed = useDoc((doc) => (node ? Object.keys(doc.params[node.id] ?? {}).length > 0 : false))
  const fields = sections.flatMap((section) => section.fields)
  const shown = matching(sections, query)
  return (
    <div className="flex min-h-full flex-col">
      <div className="flex flex-col gap-2 p-3">
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
          onClick={() => node && scope.resetParams(node, fields.flatMap(keysOf))}
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
          {shown.map((section) => (
            <SectionView key={section.id} section={section} cache={node.pipeline.supports_cache_management} />
          ))}
        </NodeContext>
      )}
      {pipeline && shown.length === 0 && (
        <p className="px-3 py-2 text-12 text-fg3">{fields.length === 0 ? t.inspector.none : t.inspector.noMatch}</p>
      )}
    </div>
  )
}
