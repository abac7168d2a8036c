import { Tooltip } from 'radix-ui'
import { useEffect } from 'react'
import { LogsDrawer } from './features/logs/LogsDrawer'
import { ModelsSheet } from './features/models/ModelsSheet'
import { handleKey } from './features/shell/commands'
import { DropZone } from './features/shell/DropZone'
import { Gate } from './features/shell/Gate'
import { LiveRegion, Notices } from './features/shell/Notices'
import { Perform } from './features/shell/Perform'
import { ShortcutSheet } from './features/shell/ShortcutSheet'

export function App() {
  useEffect(() => {
    window.addEventListener('keydown', handleKey)
    return () => window.removeEventListener('keydown', handleKey)
  }, [])
  return (
    <Tooltip.Provider delayDuration={400} skipDelayDuration={200}>
      <Gate>
        <Perform />
      </Gate>
      <ShortcutSheet />
      <LogsDrawer />
      <ModelsSheet />
      <Notices />
      <DropZone />
      <LiveRegion />
    </Tooltip.Provider>
  )
}
