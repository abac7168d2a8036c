import { scope } from '../../app'
import { MAX_TRANSITION_STEPS, type Method } from '../../doc/model'
import { changeDoc } from '../../doc/store'
import { transitionOf } from '../../engine/wire'
import { useDoc, usePipeline } from '../../hooks'
import { t } from '../../messages'
import { Slider } from '../../ui/Slider'

/** How long a step lasts, from what the server measures; null before it does. */
function stepSeconds(): number | null {
  const ms = scope.meters.server?.chunk_ms
  return typeof ms === 'number' && ms > 0 ? ms / 1000 : null
}

/** How a take moves from the old prompt to the new one. Hidden where the pipeline has no such thing. */
export function TransitionControl() {
  const pipeline = usePipeline()
  const { steps, method } = useDoc((doc) => {
    const transition = pipeline ? transitionOf(doc, pipeline) : null
    return { steps: transition?.steps ?? 0, method: transition?.method ?? null }
  })
  if (method === null) return null
  const seconds = stepSeconds()
  const duration = seconds === null ? null : `${(steps * seconds).toFixed(1)} s`
  const change = (next: { steps?: number; method?: Method }) =>
    changeDoc((doc) => ({ ...doc, transition: { ...doc.transition, ...next } }))
  return (
    <div className="flex min-w-0 flex-1 items-center gap-1.5 text-11 text-fg3">
      <button
        type="button"
        aria-label={`${t.prompt.method}: ${t.prompt[method]}`}
        onClick={() => change({ method: method === 'linear' ? 'slerp' : 'linear' })}
        className="h-6 shrink-0 rounded-[3px] border border-line px-1.5 text-11 text-fg2 hover:border-edge hover:text-fg1"
      >
        {t.prompt[method]}
      </button>
      <Slider
        label={t.prompt.steps}
        testId="transition-steps"
        value={steps}
        min={0}
        max={MAX_TRANSITION_STEPS}
        step={1}
        valueText={t.prompt.stepsText(steps, duration)}
        onChange={(value) => change({ steps: value })}
      />
      <span className="num w-11 shrink-0 text-right text-fg2">
        {steps === 0 ? t.prompt.stepsCut : (duration ?? steps)}
      </span>
    </div>
  )
}
