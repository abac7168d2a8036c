import type { DragEvent } from 'react'
import { type WirePrompt, wirePromptsSchema } from '../../doc/model'

/** Prompts on their way from one place to another, under the pointer. */

const TYPE = 'application/x-scope-prompts'

export function pickUp(event: DragEvent, prompts: readonly WirePrompt[]): void {
  event.dataTransfer.setData(TYPE, JSON.stringify(prompts))
  event.dataTransfer.setData('text/plain', prompts.map(({ text }) => text).join('\n'))
  event.dataTransfer.effectAllowed = 'copy'
}

export function carries(event: DragEvent): boolean {
  return event.dataTransfer.types.includes(TYPE)
}

export function putDown(event: DragEvent): WirePrompt[] | null {
  try {
    const parsed = wirePromptsSchema.safeParse(JSON.parse(event.dataTransfer.getData(TYPE)))
    return parsed.success ? parsed.data : null
  } catch {
    return null
  }
}
