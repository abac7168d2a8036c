import { scope } from '../../app'
import { deepEqual } from '../../doc/equal'
import { MAX_TRANSITION_STEPS } from '../../doc/model'
import { changeWeight } from '../../doc/prompts'
import { changeDoc, docStore } from '../../doc/store'
import { type ChainNode, sectionsOf } from '../../engine/chain'
import type { Target } from '../../engine/controller'
import { transitionOf } from '../../engine/wire'
import { t } from '../../messages'
import { effectiveValue, type Field } from '../../schema/plan'
import { COMMAND_GROUPS, type Command } from '../shell/command'
import { commands } from '../shell/commands'
import { CUE_TARGET, commandTarget, FIELD_KINDS, fieldTarget, TRANSITION_TARGET, weightTarget } from './ids'

/** What controllers can move: every live parameter, every command, the weights of prompts, and the transition. */

const m = t.controllers
/** How far a number without bounds goes. */
const OPEN_RANGE = 1000

const clamp = (value: number) => Math.min(1, Math.max(0, value))
const nothing = () => undefined

function action(command: Command): Target {
  return {
    id: commandTarget(command.id),
    label: command.label,
    group: t.commands.groups[command.group],
    kind: 'action',
    steps: 2,
    read: () => null,
    write: nothing,
    press: () => {
      if (!command.when || command.when()) command.run()
    },
  }
}

function bounds({ min = 0, max }: Field): [number, number] {
  return [min, max ?? min + OPEN_RANGE]
}

/** The nearest value that the field can have. */
function snapped(field: Field, fraction: number): number {
  const [min, max] = bounds(field)
  const step = field.integer ? Math.max(1, Math.round(field.step)) : field.step
  const raw = min + (max - min) * clamp(fraction)
  // A control of 7 bits is finer than a hundredth of the range: only whole numbers are rounded to their steps.
  return field.integer ? min + Math.round((raw - min) / step) * step : Number(raw.toPrecision(6))
}

function parameter(node: ChainNode, field: Field): Target | null {
  const id = fieldTarget(node, field)
  const kind = FIELD_KINDS[field.widget]
  if (!id || !kind) return null
  const value = () => effectiveValue(node.pipeline, node.mode, docStore.getState().params[node.id] ?? {}, field.key)
  const set = (next: unknown) => {
    if (!deepEqual(next, value())) scope.setParam(node, field.key, next)
  }
  const base = { id, label: field.label, group: node.pipeline.name, kind, press: nothing }
  if (kind === 'switch') {
    return { ...base, steps: 2, read: () => (value() === true ? 1 : 0), write: (next) => set(next >= 0.5) }
  }
  if (kind === 'choice') {
    const last = field.options.length - 1
    return {
      ...base,
      steps: field.options.length,
      read: () =>
        Math.max(
          0,
          field.options.findIndex((option) => deepEqual(option.value, value())),
        ) / Math.max(1, last),
      write: (next) => set(field.options[Math.round(clamp(next) * last)]?.value ?? null),
    }
  }
  const [min, max] = bounds(field)
  return {
    ...base,
    steps: 5,
    read: () => {
      const now = value()
      return typeof now === 'number' && max > min ? clamp((now - min) / (max - min)) : null
    },
    write: (next) => set(snapped(field, next)),
  }
}

function fields(): { node: ChainNode; field: Field }[] {
  return scope
    .chain()
    .flatMap((node) => sectionsOf(node).flatMap((section) => section.fields.map((field) => ({ node, field }))))
}

function parameters(): Target[] {
  return fields().flatMap(({ node, field }) => parameter(node, field) ?? [])
}

/** The parameter behind a target, null where it is something else. */
export function parameterOf(id: string): { node: ChainNode; field: Field } | null {
  return fields().find(({ node, field }) => fieldTarget(node, field) === id) ?? null
}

function weights(): Target[] {
  return docStore.getState().draft.map((_, index) => ({
    id: weightTarget(index),
    label: t.prompt.weight(index + 1),
    group: t.commands.groups.prompt,
    kind: 'range',
    steps: 5,
    read: () => (docStore.getState().draft[index]?.weight ?? 0) / 100,
    write: (next) => changeDoc(changeWeight(index, Math.round(clamp(next) * 100))),
    press: nothing,
  }))
}

function others(): Target[] {
  const cue: Target = {
    id: CUE_TARGET,
    label: m.cue,
    group: t.commands.groups.prompt,
    kind: 'switch',
    steps: 2,
    read: () => (docStore.getState().cue ? 1 : 0),
    write: (next) => changeDoc((doc) => ({ ...doc, cue: next >= 0.5 })),
    press: nothing,
  }
  const transition: Target = {
    id: TRANSITION_TARGET,
    label: t.prompt.steps,
    group: t.commands.groups.prompt,
    kind: 'range',
    steps: 5,
    read: () => {
      const pipeline = scope.pipeline()
      const now = pipeline && transitionOf(docStore.getState(), pipeline)
      return now ? now.steps / MAX_TRANSITION_STEPS : null
    },
    write: (next) => {
      const steps = Math.round(clamp(next) * MAX_TRANSITION_STEPS)
      changeDoc((doc) => ({ ...doc, transition: { ...doc.transition, steps } }))
    },
    press: nothing,
  }
  return [transition, cue]
}

/** Everything that can be mapped now, parameters first. */
export function allTargets(): Target[] {
  const actions = COMMAND_GROUPS.flatMap((group) => commands.filter((command) => command.group === group).map(action))
  return [...parameters(), ...weights(), ...others(), ...actions]
}

export function targetOf(id: string): Target | null {
  const [kind, ...rest] = id.split('|')
  if (kind === 'command') {
    const command = commands.find((candidate) => candidate.id === rest.join('|'))
    return command ? action(command) : null
  }
  const list = kind === 'param' ? parameters() : kind === 'weight' ? weights() : others()
  return list.find((target) => target.id === id) ?? null
}
