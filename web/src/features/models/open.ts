import { scope, uiStore } from '../../app'

export function openModels(): void {
  uiStore.setState({ models: true })
  void scope.models.refresh()
}
