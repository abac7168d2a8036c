import { type KeyboardEvent, useEffect, useRef, useState } from 'react'
import { useStore } from 'zustand'
import { rename, reprompt } from '../../doc/edits'
import { editBlocks, editDoc } from '../../doc/history'
import { changeMarker } from '../../doc/markers'
import { promptLabel, promptsFromLabel } from '../../doc/prompts'
import { docStore } from '../../doc/store'
import { useDoc } from '../../hooks'
import { t } from '../../messages'
import { type Editing, viewport, viewStore } from './view'

const MIN_WIDTH = 260

function commit({ id, what }: Editing, text: string): void {
  const { steps } = t.timeline
  if (what === 'label') {
    editBlocks(steps.rename, (blocks) => rename(blocks, id, text))
    return
  }
  if (text.trim() === '') return
  if (what === 'marker') {
    editDoc(steps.marker, (doc) => ({ ...doc, markers: changeMarker(doc.markers, id, { label: text.trim() }) }))
    return
  }
  const block = docStore.getState().blocks.find((entry) => entry.id === id)
  // Only a blend is written with weights: a plus in a single prompt is part of its text.
  const blend = (block?.prompts.length ?? 0) > 1
  const prompts = blend ? promptsFromLabel(text) : [{ text: text.trim(), weight: 100 }]
  editBlocks(steps.edit, (blocks) => reprompt(blocks, id, prompts))
}

function focusList(): void {
  document.querySelector<HTMLElement>('[data-testid="timeline-blocks"]')?.focus({ preventScroll: true })
}

function Field({ target, initial, label, tall }: { target: Editing; initial: string; label: string; tall: boolean }) {
  const [text, setText] = useState(initial)
  const field = useRef<HTMLInputElement>(null)
  const over = useRef(false)
  useEffect(() => field.current?.select(), [])
  const close = (keep: boolean) => {
    if (over.current) return
    over.current = true
    if (keep && text !== initial) commit(target, text)
    viewStore.setState({ editing: null })
  }
  const onKey = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing || (event.key !== 'Enter' && event.key !== 'Escape')) return
    event.preventDefault()
    close(event.key === 'Enter')
    focusList()
  }
  return (
    <input
      ref={field}
      // biome-ignore lint/a11y/noAutofocus: it has just been asked for
      autoFocus
      aria-label={label}
      data-testid="timeline-editor"
      value={text}
      spellCheck={false}
      onChange={(event) => setText(event.target.value)}
      onKeyDown={onKey}
      onBlur={() => close(true)}
      onPointerDown={(event) => event.stopPropagation()}
      className={
        tall
          ? 'h-11 w-full rounded-1 border border-accent bg-bg0 px-3 text-16 text-fg1'
          : 'h-full w-full rounded-1 border-2 border-accent bg-bg0 px-2 text-13 text-fg1 shadow-lg shadow-black/60 outline-none'
      }
    />
  )
}

/** Edits a block's prompt or name, or a marker's name, where it is; on a phone below the blocks. */
export function InlineEditor({ tall }: { tall: boolean }) {
  const editing = useStore(viewStore, ({ editing }) => editing)
  const scale = useStore(viewStore, ({ scale }) => scale)
  const blocks = useDoc((doc) => doc.blocks)
  const markers = useDoc((doc) => doc.markers)
  if (!editing) return null
  const index = blocks.findIndex(({ id }) => id === editing.id)
  const block = blocks[index]
  const marker = markers.find(({ id }) => id === editing.id)
  if (!block && !marker) return null
  const label = marker
    ? t.timeline.markerLabel
    : editing.what === 'label'
      ? t.timeline.editLabel(index + 1)
      : t.timeline.editPrompt(index + 1)
  const initial = marker?.label ?? (editing.what === 'label' ? block?.label : promptLabel(block?.prompts ?? [])) ?? ''
  const field = (
    <Field key={`${editing.id} ${editing.what}`} target={editing} initial={initial} label={label} tall={tall} />
  )
  if (tall) return <div className="px-3 pt-2">{field}</div>
  const px = scale / 1000
  const startPx = (block?.startMs ?? marker?.atMs ?? 0) * px
  const width = Math.max(MIN_WIDTH, block?.endMs != null ? (block.endMs - block.startMs) * px : 0)
  const shown = Math.min(width, viewport.width - 16)
  const left = Math.min(Math.max(startPx, viewport.scrolled + 8), viewport.scrolled + viewport.width - shown - 8)
  return (
    <div
      className={`absolute z-30 ${marker ? 'top-0 h-7' : 'top-6 h-12'}`}
      style={{ left: `${left}px`, width: `${shown}px` }}
    >
      {field}
    </div>
  )
}
