import { notify, scope, uiStore } from '../../app'
import { t } from '../../messages'
import type { Command } from '../shell/command'

export const stageElement = { current: null as HTMLElement | null }

export async function toggleFullscreen(): Promise<void> {
  if (document.fullscreenElement) await document.exitFullscreen().catch(() => undefined)
  else await stageElement.current?.requestFullscreen().catch(() => undefined)
}

export async function takeScreenshot(): Promise<void> {
  notify((await scope.screenshot()) ? t.notices.screenshot : t.notices.noPicture)
}

export function toggleRecording(): void {
  if (scope.onScreen) void scope.toggleRecording()
  else notify(t.notices.noStream)
}

export const stageCommands: readonly Command[] = [
  { id: 'play', label: t.commands.play, group: 'perform', keys: ['Space'], run: () => scope.togglePlay() },
  {
    id: 'stop',
    label: t.commands.stop,
    group: 'perform',
    when: () => scope.session.active,
    run: () => void scope.session.stop(),
  },
  { id: 'record', label: t.commands.record, group: 'perform', keys: ['R'], run: toggleRecording },
  { id: 'screenshot', label: t.commands.screenshot, group: 'perform', keys: ['P'], run: () => void takeScreenshot() },
  {
    id: 'resetCache',
    label: t.commands.resetCache,
    group: 'perform',
    when: () => scope.onScreen && scope.pipeline()?.supports_cache_management === true,
    run: () => scope.resetCache(),
  },
  { id: 'fullscreen', label: t.commands.fullscreen, group: 'view', keys: ['F'], run: () => void toggleFullscreen() },
  {
    id: 'hud',
    label: t.commands.hud,
    group: 'view',
    keys: ['H'],
    run: () => uiStore.setState(({ hud }) => ({ hud: !hud })),
  },
]
