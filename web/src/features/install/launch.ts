import { graphStore } from '../graph/state'
import { openLibrary } from '../library/state'
import { openModels } from '../models/open'
import { importFile, looksLikeDocument } from '../project/entry'
import { openDialog } from '../project/session'
import { openVideo } from '../source/openVideo'

/** What the installed page is started with: files that the system gives it, and the entries of its icon's menu. */

interface LaunchParams {
  readonly targetURL?: string
  readonly files?: readonly { getFile(): Promise<File> }[]
}

interface LaunchQueue {
  setConsumer(consumer: (params: LaunchParams) => void): void
}

/** Only what opens a panel: anybody can make a link. */
const PANELS: Readonly<Record<string, () => void>> = {
  projects: () => openDialog({ kind: 'open' }),
  library: () => openLibrary('media'),
  models: openModels,
  graph: () => graphStore.setState({ open: true }),
}

export function openFile(file: File): void {
  void (looksLikeDocument(file) ? importFile(file) : openVideo(file))
}

function show(address: string): void {
  PANELS[new URL(address, location.origin).searchParams.get('show') ?? '']?.()
}

export function startLaunch(): void {
  const opened = location.href
  const { pathname, searchParams } = new URL(opened)
  const graph = pathname === '/graph'
  if (graph || searchParams.has('show')) {
    show(graph ? '/?show=graph' : opened)
    searchParams.delete('show')
    const rest = searchParams.size > 0 ? `?${searchParams}` : ''
    history.replaceState(history.state, '', (graph ? '/' : pathname) + rest + location.hash)
  }
  const { launchQueue } = window as Window & { launchQueue?: LaunchQueue }
  let first = true
  launchQueue?.setConsumer(({ targetURL, files }) => {
    // A launch that opened the page comes with its address, which has been read.
    if (targetURL && !(first && targetURL === opened)) show(targetURL)
    first = false
    for (const handle of files ?? []) {
      // One that is gone meanwhile opens nothing.
      void handle.getFile().then(openFile, () => undefined)
    }
  })
}
