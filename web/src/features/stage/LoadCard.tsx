import { useCallback } from 'react'
import { scope } from '../../app'
import { usePipeline, useSession } from '../../hooks'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { minutes } from '../../ui/format'
import { expectedLoadMs } from './loadTimes'
import { StageCard } from './StageOverlay'

/** What is being loaded, for how long, and how long it took last time. The clock and bar are painted, not rendered. */
export function LoadCard() {
  const pipeline = usePipeline()
  const { stage, since } = useSession(({ stage, loadingSince }) => ({ stage, since: loadingSince }))
  const expected = pipeline ? expectedLoadMs(pipeline.id) : null
  const attach = useCallback(
    (card: HTMLDivElement | null) => {
      const time = card?.querySelector<HTMLElement>('[data-part="elapsed"]')
      const bar = card?.querySelector<HTMLElement>('[data-part="bar"]')
      const paint = () => {
        const elapsed = since === null ? 0 : performance.now() - since
        if (time) time.textContent = minutes(elapsed)
        if (bar && expected !== null) bar.style.width = `${Math.min(96, (elapsed / expected) * 100)}%`
      }
      paint()
      const timer = setInterval(paint, 250)
      return () => clearInterval(timer)
    },
    [since, expected],
  )
  return (
    <StageCard>
      <div ref={attach} aria-live="polite">
        <p className="text-16 font-semibold">{t.stage.loadingTitle(pipeline?.name ?? '')}</p>
        <p data-testid="load-stage" className="mt-1 min-h-5 text-13 text-fg2">
          {stage ?? t.state.loading}
        </p>
        <div className="mt-4 h-1.5 overflow-hidden rounded-full bg-bg3" aria-hidden>
          {expected === null ? (
            <div className="h-full w-1/3 animate-indeterminate rounded-full bg-accent" />
          ) : (
            <div data-part="bar" className="h-full rounded-full bg-accent transition-[width] duration-200" />
          )}
        </div>
        <p className="mt-2 flex justify-between text-12 text-fg3">
          <span>
            <span data-part="elapsed" className="num text-fg1" aria-hidden /> {t.stage.elapsed}
          </span>
          <span>
            {expected === null ? t.stage.firstTime : t.stage.expected(Math.max(1, Math.round(expected / 1000)))}
          </span>
        </p>
        <Button variant="outline" className="mt-4" onClick={() => void scope.session.stop()}>
          {t.header.stop}
        </Button>
      </div>
    </StageCard>
  )
}
