import { scope } from '../../app'
import { MAX_TRANSITION_STEPS, type Method } from '../../doc/model'
import { changeDoc, docStore } from '../../doc/store'
import { transitionOf } from '../../engine/wire'
import { useDoc, usePipeline } from '../../hooks'
import { t } from '../../messages'
import { Painted } from '../../ui/Painted'
import { Slider } from '../../ui/Slider'
import { Ghost } from '../control/Ghost'
import { TRANSITION_TARGET } from '../control/ids'

/** How long a step lasts, a chunk of pictures at the pace that the server measures; null before it does. */
function stepSeconds(): number | null {
  const { chunk_frames: frames, fps_generated: made, fps_out: shown } = scope.meters.server ?? {}
  const rate = shown || made
  return frames && rate ? frames / rate : null
}

/** The transition at the pace that is measured. */
function paintSteps(): string {
  const pipeline = scope.pipeline()
  const steps = (pipeline && transitionOf(docStore.getState(), pipeline)?.steps) ?? 0
  const seconds = stepSeconds()
  return steps === 0
    ? t.prompt.stepsCut
    : seconds === null
      ? `${steps}`
      : `${steps} ≈ ${(steps * seconds).toFixed(1)} s`
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
    <div data-map={TRANSITION_TARGET} className="flex min-w-0 flex-1 items-center gap-1.5 text-11 text-fg3">
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
        mark={<Ghost target={TRANSITION_TARGET} />}
        onChange={(value) => change({ steps: value })}
      />
      {/* Painted anew for every choice, and by the meters while the pace changes. */}
      <Painted
        key={steps}
        paint={paintSteps}
        className="num min-w-7 shrink-0 text-right text-fg2"
        testId="transition-length"
      />
    </div>
  )
}
