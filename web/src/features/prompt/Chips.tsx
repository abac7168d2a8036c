import { scope } from '../../app'
import { EXAMPLE_PROMPTS } from '../../doc/model'
import { useAir, useDoc, usePipeline } from '../../hooks'
import { t } from '../../messages'
import { cx } from '../../ui/cx'
import { pickUp } from '../deck/carry'
import { announceTake } from './commands'

/** Prompts to try: one click is a take. */
export function Chips() {
  const pipeline = usePipeline()
  const active = useAir()
  const onAir = useDoc((doc) => (doc.onAir.length === 1 ? doc.onAir[0]?.text : undefined))
  const own = pipeline?.example_prompts
  const first = useDoc((doc) => active && doc.blocks.length === 1 && doc.history.length <= 1)
  const prompts = own && own.length > 0 ? own.slice(0, 6) : EXAMPLE_PROMPTS
  return (
    <div className="min-w-0">
      <div className="flex items-center gap-1.5 overflow-x-auto p-0.5 pr-8 [mask-image:linear-gradient(to_left,transparent,black_36px)] [scrollbar-width:none]">
        <span className="shrink-0 text-11 text-fg3">{t.prompt.try}</span>
        {prompts.map((text) => (
          <button
            key={text}
            type="button"
            data-testid="prompt-chip"
            draggable
            onDragStart={(event) => pickUp(event, [{ text, weight: 100 }])}
            onClick={() => {
              scope.recall([{ text, weight: 100 }])
              announceTake()
            }}
            className={cx(
              'h-6 shrink-0 rounded-full border px-2.5 text-12 whitespace-nowrap transition-colors duration-100 max-md:h-9 max-md:px-3.5',
              active && onAir === text
                ? 'border-ok/70 text-ok'
                : 'border-line bg-bg2 text-fg2 hover:border-edge hover:text-fg1',
            )}
          >
            {text}
          </button>
        ))}
      </div>
      {first && <p className="pt-1 pl-0.5 text-12 text-accent max-lg:hidden">{t.prompt.firstTake}</p>}
    </div>
  )
}
