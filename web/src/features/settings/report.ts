import { api } from '../../api/client'
import { scope, uiStore } from '../../app'
import { docStore } from '../../doc/store'
import { saveAs } from '../../engine/capture'
import { problemStore } from '../../problems'
import { keymapStore } from '../shell/keymap'

/** What somebody needs to know who is to find out what went wrong here. Says nothing of what was made. */
export async function diagnosticReport(): Promise<Record<string, unknown>> {
  const { pipelines, status, phase, version } = scope.catalog.store.getState()
  const { state, attempt, stage, error, running, parked } = scope.session.store.getState()
  const { fps, fpsHistory, latency, latencyP95, net, server } = scope.meters
  const { hud, singleKeys, lessMotion, leftWidth, rightWidth } = uiStore.getState()
  const { mode, pipelineId, chain, params, source, blocks } = docStore.getState()
  return {
    kind: 'scope-diagnostic-report',
    at: new Date().toISOString(),
    server: { version, phase, health: await api.health().catch((cause: unknown) => String(cause)) },
    browser: {
      agent: navigator.userAgent,
      languages: navigator.languages,
      cores: navigator.hardwareConcurrency,
      window: [innerWidth, innerHeight, devicePixelRatio],
      screen: [screen.width, screen.height],
    },
    pipelines: Object.keys(pipelines),
    status,
    session: { state, attempt, stage, error, running, parked },
    meters: { fps, fpsHistory, latency, latencyP95, net, server },
    problems: problemStore.getState().list,
    project: { mode, pipelineId, chain, params, source: source.kind, takes: blocks.length },
    preferences: { hud, singleKeys, lessMotion, leftWidth, rightWidth, keys: keymapStore.getState() },
  }
}

const stamp = () => new Date().toISOString().slice(0, 19).replaceAll(':', '-').replace('T', '-')

export function saveBlob(blob: Blob, name: string): string {
  const url = URL.createObjectURL(blob)
  saveAs(url, name)
  setTimeout(() => URL.revokeObjectURL(url), 30_000)
  return name
}

export async function saveReport(): Promise<string> {
  const text = JSON.stringify(await diagnosticReport(), null, 2)
  return saveBlob(new Blob([text], { type: 'application/json' }), `scope-report-${stamp()}.json`)
}

export async function saveLog(): Promise<string> {
  return saveBlob(await api.log(), `scope-log-${stamp()}.txt`)
}
