import { ScrollText } from 'lucide-react'
import { uiStore } from '../../app'
import type { Meters } from '../../engine/meters'
import { useCatalog, useOnScreen } from '../../hooks'
import { t } from '../../messages'
import { fixed, rate } from '../../ui/format'
import { Painted } from '../../ui/Painted'
import { AgainChip } from '../again/AgainChip'
import { CenterButton } from '../notices/CenterButton'
import { HealthButton } from '../stage/HealthWord'

const details = ({ net, server }: Meters) => {
  const size = net.width ? `${net.codec ?? ''} ${net.width}×${net.height}` : ''
  return [
    size,
    `${t.hud.rtt} ${fixed(net.rttMs ?? server?.rtt_ms, 0, ' ms')}`,
    `${t.hud.loss} ${fixed(net.lossPercent, 1, ' %')}`,
    `${t.hud.jitter} ${fixed(net.jitterMs, 0, ' ms')}`,
    rate(net.bitrateBps),
  ]
    .filter(Boolean)
    .join('  ·  ')
}

export function StatusBar() {
  const { phase, version } = useCatalog(({ phase, version }) => ({ phase, version }))
  const onScreen = useOnScreen()
  return (
    <footer className="flex h-7 shrink-0 items-center gap-3 overflow-hidden border-t border-line bg-bg1 px-3 text-11 whitespace-nowrap text-fg3">
      <span>{phase === 'ready' ? t.status.connected(location.host) : t.status.disconnected}</span>
      {onScreen && (
        <>
          <HealthButton />
          <Painted paint={details} className="num min-w-0 truncate text-fg2" />
        </>
      )}
      <span className="num ml-auto">{version}</span>
      <AgainChip />
      <CenterButton />
      <button
        type="button"
        onClick={() => uiStore.setState({ logs: true })}
        className="flex h-6 items-center gap-1.5 rounded-1 px-1.5 text-fg2 hover:bg-bg3 hover:text-fg1"
      >
        <ScrollText size={13} aria-hidden />
        {t.status.logs}
      </button>
    </footer>
  )
}
