import { scope, uiStore } from '../../app'

/** Opens a dropped or chosen file, or one that lies on the server as `asset`; a refusal shows in the source panel, which is brought into view for it. */
export async function openVideo(file: File, asset?: string): Promise<void> {
  if (await scope.openClip(file, asset)) return
  uiStore.setState((ui) => ({ tab: 'source', drawer: ui.drawer }))
}
