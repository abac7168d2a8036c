import { useUi } from '../../hooks'
import { Lazily, type LazyPanel, lazyPanel } from '../../ui/Lazily'

/** What is not on the page at first: its code comes while the page is at rest, or when it is first asked for. */

const PANELS = {
  palette: lazyPanel(async () => (await import('../palette/PalettePanel')).PalettePanel),
  settings: lazyPanel(async () => (await import('../settings/SettingsDialog')).SettingsDialog),
  sheet: lazyPanel(async () => (await import('./ShortcutSheet')).ShortcutSheet),
  center: lazyPanel(async () => (await import('../notices/Center')).Center),
  logs: lazyPanel(async () => (await import('../logs/LogsDrawer')).LogsDrawer),
  models: lazyPanel(async () => (await import('../models/ModelsSheet')).ModelsSheet),
  mapping: lazyPanel(async () => (await import('../control/MapLayer')).MapLayer),
} satisfies Record<string, LazyPanel>

/** So that it is there when the server is not. */
export function preloadPanels(): void {
  for (const panel of Object.values(PANELS)) panel.preload()
}

export function Panels() {
  const open = useUi(({ palette, settings, sheet, center, logs, models, mapping }) => ({
    palette,
    settings: settings !== null,
    sheet,
    center,
    logs,
    models,
    mapping,
  }))
  return (
    <>
      {(Object.keys(PANELS) as (keyof typeof PANELS)[]).map((id) => (
        <Lazily key={id} of={PANELS[id]} open={open[id]} />
      ))}
    </>
  )
}
