import { useCallback, useMemo, useSyncExternalStore } from 'react'
import { useStore } from 'zustand'
import { useShallow } from 'zustand/react/shallow'
import type { ModelNeed } from './api/client'
import type { Mode, Pipeline } from './api/types'
import { scope, type UiState, uiStore } from './app'
import type { ProjectDoc } from './doc/model'
import { docStore } from './doc/store'
import type { CatalogState } from './engine/catalog'
import { type ChainNode, chainOf, modeFor, needOf } from './engine/chain'
import type { ModelsState } from './engine/models'
import type { SessionSnapshot, SessionState } from './engine/session'

export function useDoc<T>(select: (doc: ProjectDoc) => T): T {
  return useStore(docStore, useShallow(select))
}

export function useUi<T>(select: (ui: UiState) => T): T {
  return useStore(uiStore, useShallow(select))
}

export function useSession<T>(select: (session: SessionSnapshot) => T): T {
  return useStore(scope.session.store, useShallow(select))
}

export function useCatalog<T>(select: (catalog: CatalogState) => T): T {
  return useStore(scope.catalog.store, useShallow(select))
}

export function useModels<T>(select: (models: ModelsState) => T): T {
  return useStore(scope.models.store, useShallow(select))
}

export function useSessionState(): SessionState {
  return useSession((session) => session.state)
}

/** A picture is up: live, held or late. */
export function useOnScreen(): boolean {
  return useSession(({ state }) => state === 'live' || state === 'paused' || state === 'stalled')
}

export function usePipeline(): Pipeline | null {
  const id = useDoc((doc) => doc.pipelineId)
  return useCatalog((catalog) => (id === null ? null : (catalog.pipelines[id] ?? null)))
}

/** Whether the pipeline does anything with prompts; true until it is known. */
export function usePrompted(): boolean {
  return usePipeline()?.supports_prompts ?? true
}

/** Whether the prompts on air are in the picture: a session runs, and its pipeline takes prompts. */
export function useAir(): boolean {
  const active = useSession(({ state }) => !['idle', 'failed', 'stopping'].includes(state))
  return usePrompted() && active
}

/** The mode in force: the document's, or the only one its pipeline has. */
export function useMode(): Mode {
  const pipeline = usePipeline()
  return useDoc((doc) => (pipeline ? modeFor(doc, pipeline) : doc.mode))
}

/** The nodes of the document, in the order in which pictures pass. */
export function useChain(): readonly ChainNode[] {
  const pipeline = usePipeline()
  const pipelines = useCatalog((catalog) => catalog.pipelines)
  const { mode, chain } = useDoc(({ mode, chain }) => ({ mode, chain }))
  return useMemo(
    () => (pipeline ? chainOf({ mode, chain }, pipeline, pipelines) : []),
    [pipeline, pipelines, mode, chain],
  )
}

/** What these nodes need of model files. */
export function useNeeds(nodes: readonly ChainNode[]): readonly ModelNeed[] {
  const params = useDoc((doc) => doc.params)
  return useMemo(
    () =>
      nodes.flatMap((node) => {
        const need = needOf({ params }, node)
        return need ? [need] : []
      }),
    [nodes, params],
  )
}

export type Layout = 'narrow' | 'medium' | 'wide'

const wide = matchMedia('(min-width: 1200px)')
const medium = matchMedia('(min-width: 768px)')

export function useLayout(): Layout {
  const subscribe = useCallback((changed: () => void) => {
    wide.addEventListener('change', changed)
    medium.addEventListener('change', changed)
    return () => {
      wide.removeEventListener('change', changed)
      medium.removeEventListener('change', changed)
    }
  }, [])
  return useSyncExternalStore(subscribe, () => (wide.matches ? 'wide' : medium.matches ? 'medium' : 'narrow'))
}
