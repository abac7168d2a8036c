import { Tooltip } from 'radix-ui'
import { useEffect } from 'react'
import { LazyAgain } from './features/again/LazyAgain'
import { Graph } from './features/graph/Graph'
import { Library } from './features/library/Library'
import { LazyProjectDialogs } from './features/project/LazyDialogs'
import { DropZone } from './features/shell/DropZone'
import { Gate } from './features/shell/Gate'
import { handleKey } from './features/shell/keys'
import { LiveRegion, Notices } from './features/shell/Notices'
import { Perform } from './features/shell/Perform'
import { Panels } from './features/shell/panels'
import { Lazily, lazyPanel } from './ui/Lazily'

/** Nobody clicks with the right button before the page is there. */
const mapMenu = lazyPanel(async () => (await import('./features/control/MapMenu')).MapMenu)

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
      <Panels />
      <Lazily of={mapMenu} open />
      <Library />
      <Graph />
      <LazyProjectDialogs />
      <LazyAgain />
      <Notices />
      <DropZone />
      <LiveRegion />
    </Tooltip.Provider>
  )
}
