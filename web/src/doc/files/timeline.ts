import { z } from '../../api/zod'
import type { ProjectDoc } from '../model'
import {
  type EntryKeys,
  entryOf,
  msOf,
  optionalMethod,
  promptsSchema,
  secondsSchema,
  settle,
  sharesOf,
  stepsSchema,
} from './entries'
import { check, FileError, type Json, MAX_BLOCKS, others } from './json'
import { extraFrom, fromOwn, keptIn, nodesOf, OWN_KEY, ownOf, readOwn, type Score, type WriteContext } from './score'
import { paramsFromSettings, settingsFrom, settingsSchema, withoutDefaults } from './settings'

/** Timeline files, version 2.0 and 2.1. */

export const TIMELINE_VERSION = '2.1'
const KEYS: EntryKeys = {
  start: 'startTime',
  end: 'endTime',
  steps: 'transitionSteps',
  method: 'temporalInterpolationMethod',
}

const entrySchema = z.looseObject({
  startTime: secondsSchema,
  endTime: secondsSchema,
  prompts: promptsSchema,
  transitionSteps: z.nullish(stepsSchema),
  temporalInterpolationMethod: optionalMethod,
})
const ENTRY_KEYS = Object.keys(entrySchema.shape)

const timelineSchema = z.looseObject({
  version: z.union([z.string(), z.number()]),
  exportedAt: z.optional(z.unknown()),
  settings: z.nullish(settingsSchema),
  prompts: z.array(entrySchema),
})
const TOP_KEYS = [...Object.keys(timelineSchema.shape), OWN_KEY]

/** Whether a value looks like a timeline of any version. */
export function isTimeline(value: Json): boolean {
  return Array.isArray(value.prompts) && 'version' in value && !('format' in value)
}

export function readTimeline(value: Json, text: string): Score {
  const version = String(value.version)
  if (!/^2(\.[01])?$/.test(version)) throw new FileError({ code: 'version', format: 'timeline', version })
  const count = Array.isArray(value.prompts) ? value.prompts.length : 0
  if (count > MAX_BLOCKS) throw new FileError({ code: 'blocks', count })
  const file = check(timelineSchema, value, text)
  const own = readOwn(file[OWN_KEY])
  const { params, loraExtras, extra } = paramsFromSettings(file.settings ?? {})
  const main = file.settings?.pipelineId ?? null
  const entries = file.prompts.map((entry) => ({
    startMs: msOf(entry.startTime),
    endMs: msOf(entry.endTime),
    prompts: entry.prompts,
    steps: entry.transitionSteps,
    method: entry.temporalInterpolationMethod,
    extra: others(entry, ENTRY_KEYS),
  }))
  const chosen = { ...withoutDefaults(params, own?.defaults), ...(main === null ? {} : own?.params?.[main]) }
  return {
    ...fromOwn(own),
    ...settle(entries, own?.blocks),
    mode: own?.mode ?? file.settings?.inputMode ?? null,
    pipelineId: main,
    before: own ? (own.before ?? []) : null,
    after: own ? (own.after ?? []) : null,
    unplaced: [],
    params: {
      ...own?.params,
      ...(main !== null && Object.keys(chosen).length > 0 ? { [main]: chosen } : {}),
    },
    prompts: own?.prompts ? sharesOf(own.prompts) : null,
    transition: own ? (own.transition ?? { steps: null, method: null }) : null,
    extra: extraFrom(others(file, TOP_KEYS), own, { settings: extra, loras: loraExtras }),
  }
}

export function writeTimeline(doc: ProjectDoc, context: WriteContext): Json {
  const { top, kept } = keptIn(doc)
  const main = doc.pipelineId
  const own = main === null ? {} : (doc.params[main] ?? {})
  const effective = main === null ? {} : (context.effective[main] ?? {})
  const { values, left, defaults } = settingsFrom(own, effective, kept.loras ?? {})
  const processors = nodesOf(doc).filter((node) => node !== main)
  const params = Object.fromEntries(processors.map((node) => [node, doc.params[node] ?? {}]))
  if (main !== null) params[main] = left
  return {
    ...top,
    prompts: doc.blocks.map((block) => entryOf(block, KEYS, context.nowMs)),
    settings: {
      ...kept.settings,
      ...(main === null ? {} : { pipelineId: main }),
      inputMode: doc.mode,
      ...values,
    },
    version: TIMELINE_VERSION,
    exportedAt: context.now,
    [OWN_KEY]: ownOf(doc, params, defaults),
  }
}
