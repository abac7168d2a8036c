import { useCallback } from 'react'
import { scope } from '../../app'
import { minutes } from '../../ui/format'

/** Running time of the recording, written without React. */
export function RecordTime() {
  const attach = useCallback((node: HTMLSpanElement | null) => {
    if (!node) return
    const paint = () => {
      node.textContent = minutes(Date.now() - scope.recorder.store.getState().since)
    }
    paint()
    const timer = setInterval(paint, 500)
    return () => clearInterval(timer)
  }, [])
  return <span ref={attach} className="num min-w-9 text-left" data-testid="record-time" />
}
