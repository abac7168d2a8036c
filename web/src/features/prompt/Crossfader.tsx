import { editDoc } from '../../doc/history'
import { changeWeight } from '../../doc/prompts'
import { changeDoc } from '../../doc/store'
import { blendOf } from '../../engine/wire'
import { useDoc, usePipeline } from '../../hooks'
import { t } from '../../messages'
import { Hint } from '../../ui/Button'
import { cx } from '../../ui/cx'
import { Slider } from '../../ui/Slider'
import { Ghost } from '../control/Ghost'
import { weightTarget } from '../control/ids'

/** How the two mix, where the pipeline has more than one way. */
function Blend() {
  const pipeline = usePipeline()
  const blend = useDoc((doc) => pipeline && blendOf(doc, pipeline))
  if (!blend) return null
  const other = blend === 'linear' ? 'slerp' : 'linear'
  return (
    <Hint text={t.blend.hint[blend]}>
      <button
        type="button"
        data-testid="blend-method"
        aria-label={`${t.blend.label}: ${t.prompt[blend]}`}
        onClick={() => editDoc(t.blend.label, (doc) => ({ ...doc, blend: other }))}
        className="h-7 shrink-0 rounded-1 border border-edge bg-bg2 px-2 text-11 text-fg1 hover:bg-bg3 max-md:h-11"
      >
        {t.prompt[blend]}
      </button>
    </Hint>
  )
}

/** From one prompt to the other, where there are exactly two. */
export function Crossfader() {
  const { share, locked } = useDoc(({ draft: [a, b] }) => ({
    share: b?.weight ?? 0,
    locked: (a?.locked ?? false) || (b?.locked ?? false),
  }))
  const fade = (next: number) => changeDoc(changeWeight(1, next))
  const end = (index: 0 | 1) => {
    const letter = t.prompt.letter[index]
    const there = share === (index === 0 ? 0 : 100)
    return (
      <button
        type="button"
        aria-label={t.prompt.only(letter)}
        aria-pressed={there}
        disabled={locked}
        data-testid={`fade-${letter}`}
        onClick={() => fade(index === 0 ? 0 : 100)}
        className={cx(
          'h-7 w-9 shrink-0 rounded-1 border text-12 font-semibold disabled:opacity-45 max-md:h-11 max-md:w-11',
          there ? 'border-accent bg-accent/15 text-accent' : 'border-edge bg-bg2 text-fg1 hover:bg-bg3',
        )}
      >
        {letter}
      </button>
    )
  }
  return (
    <div data-map={weightTarget(1)} className="flex items-center gap-2.5">
      {end(0)}
      <Slider
        label={t.prompt.fader}
        valueText={t.prompt.faderText(100 - share, share)}
        testId="crossfader"
        value={share}
        min={0}
        max={100}
        step={1}
        disabled={locked}
        mark={<Ghost target={weightTarget(1)} />}
        onChange={fade}
      />
      {end(1)}
      <Blend />
    </div>
  )
}
