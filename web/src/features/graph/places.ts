import { uiStore } from '../../app'
import { openLibrary } from '../library/state'
import { openOutput } from '../output/commands'
import type { FlowNode } from './flow'
import { graphStore } from './state'

/** Where a node of the signal path is set up. */

const FRAMES = 20
const NARROW = matchMedia('(max-width: 767px)')

/** The id of what sets up a node, for those that the inspector has. */
export const anchorOf = (node: string) => `set-${node}`

/** What has just been opened may take a few frames to be there. */
function reveal(find: () => HTMLElement | null, frames = FRAMES): void {
  const element = find()
  if (!element) {
    if (frames > 0) requestAnimationFrame(() => reveal(find, frames - 1))
    return
  }
  element.scrollIntoView({ block: 'nearest' })
  element.focus()
}

const byId = (id: string) => () => document.getElementById(id)

/** The choice of pipelines, in an inspector that may only just have been opened. */
export const revealPipeline = () => reveal(byId(anchorOf('pipeline')))

export function goTo({ id, kind }: FlowNode): void {
  // On a phone the drawer lies over what it leads to.
  if (NARROW.matches || kind === 'recording') graphStore.setState({ open: false })
  switch (kind) {
    case 'source':
      uiStore.setState({ tab: 'source', drawer: 'source' })
      reveal(byId(anchorOf('source')))
      break
    case 'prompt':
      reveal(() => document.querySelector<HTMLElement>('textarea'))
      break
    case 'window':
      openOutput()
      break
    case 'recording':
      openLibrary('recordings')
      break
    case 'sink':
    case 'stage':
      uiStore.setState({ hud: true })
      break
    case 'loras':
      uiStore.setState({ tab: 'tune', drawer: 'inspector' })
      reveal(byId(anchorOf('look')))
      break
    case 'references':
      uiStore.setState({ tab: 'tune', drawer: 'inspector' })
      reveal(byId(anchorOf('guide')))
      break
    case 'pipeline':
      uiStore.setState({ tab: 'tune', drawer: 'inspector' })
      revealPipeline()
      break
    case 'processor':
      uiStore.setState({ tab: 'tune', drawer: 'inspector' })
      reveal(byId(anchorOf(id)))
      break
    case 'other':
      break
  }
}
