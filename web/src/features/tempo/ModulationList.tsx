import { SlidersHorizontal } from 'lucide-react'
import { swingsOf } from '../../engine/modulation'
import { useChain, useDoc } from '../../hooks'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { Switch } from '../../ui/controls'
import { stopAll } from './commands'
import { changeSwing, showSwing, swingId } from './swings'

const m = t.modulation

/** Everything that swings in what is chosen, and one way to stop it. */
export function ModulationList() {
  const modulations = useDoc((doc) => doc.modulations)
  const swings = swingsOf({ modulations }, useChain())
  const running = swings.some(({ modulation }) => modulation.on)
  return (
    <section aria-label={m.title} className="flex flex-col gap-1 border-t border-line px-4 py-3">
      <div className="flex min-h-7 items-center">
        <h3 className="panel-title">{m.title}</h3>
        <Button
          variant="outline"
          data-testid="swing-stop-all"
          className="ml-auto max-md:h-11"
          disabled={!running}
          onClick={stopAll}
        >
          {m.stopAll}
        </Button>
      </div>
      {swings.length === 0 && <p className="text-12 text-fg3">{m.none}</p>}
      <ul className="m-0 flex list-none flex-col p-0">
        {swings.map(({ node, field, modulation }) => (
          <li
            key={swingId(node, field)}
            data-testid="swing-entry"
            className="flex min-h-9 items-center gap-2 text-12 max-md:min-h-11"
          >
            <Switch
              label={m.on(field.label)}
              checked={modulation.on}
              onChange={(on) => changeSwing(node, field, { on })}
            />
            <span className="min-w-0 flex-1 truncate">
              {field.label}
              {node.role !== 'main' && <span className="text-fg3"> · {node.pipeline.name}</span>}
            </span>
            <span className="text-11 text-fg3">
              {m.shapes[modulation.shape]} · {m.rates[modulation.rate]} ·{' '}
              <span className="num">±{modulation.depth}</span>
            </span>
            <IconButton
              label={m.edit(field.label)}
              className="max-md:h-11 max-md:w-11"
              onClick={() => showSwing(node, field)}
            >
              <SlidersHorizontal size={14} aria-hidden />
            </IconButton>
          </li>
        ))}
      </ul>
    </section>
  )
}
