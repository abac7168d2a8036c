import { scope, uiStore } from '../../app'

/** Opens a dropped or chosen file; a refusal shows in the source panel, which is brought into view for it. */
export async function openVideo(file: File): Promise<void> {
  if (await scope.openClip(file)) return
  uiStore.setState((ui) => ({ tab: 'source', drawer: ui.drawer }))
}
