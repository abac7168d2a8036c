import { createRoot } from 'react-dom/client'
import { t } from '../../messages'
import { OutputPage } from './OutputPage'

export function bootOutput(root: HTMLElement): void {
  document.title = t.output.title
  createRoot(root).render(<OutputPage bridge={(window.opener as Window | null)?.scopeOutput ?? null} />)
}
