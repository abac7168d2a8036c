import { CircleAlert, CircleCheck, ScrollText, TriangleAlert } from 'lucide-react'
import { useCallback } from 'react'
import { scope, uiStore } from '../../app'
import type { Meters } from '../../engine/meters'
import { useCatalog, useOnScreen } from '../../hooks'
import { t } from '../../messages'
import { cx } from '../../ui/cx'
import { fixed, rate } from '../../ui/format'
import { Painted } from '../../ui/Painted'

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

type Health = 'ok' | 'warn' | 'bad'

/** One word for the state of the stream, from what can go wrong in it. */
export function judge({ fps, net }: Meters): Health {
  const loss = net.lossPercent ?? 0
  const rtt = net.rttMs ?? 0
  if (fps === 0 || loss > 5 || rtt > 400) return 'bad'
  return fps < 5 || loss > 1 || rtt > 150 ? 'warn' : 'ok'
}

/** Shows one of three marks; which one is written into an attribute, not rendered. */
function HealthMark() {
  const attach = useCallback((node: HTMLSpanElement | null) => {
    if (!node) return
    return scope.meters.subscribe((meters) => {
      const health = judge(meters)
      if (node.dataset.health !== health) node.dataset.health = health
    })
  }, [])
  const part = 'hidden items-center gap-1'
  return (
    <span ref={attach} role="img" aria-label={t.status.health} className="group/health flex font-medium">
      <span className={cx(part, 'text-ok group-data-[health=ok]/health:flex')}>
        <CircleCheck size={13} aria-hidden />
        {t.hud.ok}
      </span>
      <span className={cx(part, 'text-warn group-data-[health=warn]/health:flex')}>
        <TriangleAlert size={13} aria-hidden />
        {t.hud.warn}
      </span>
      <span className={cx(part, 'text-live group-data-[health=bad]/health:flex')}>
        <CircleAlert size={13} aria-hidden />
        {t.hud.bad}
      </span>
    </span>
  )
}

export function StatusBar() {
  const { phase, version } = useCatalog(({ phase, version }) => ({ phase, version }))
  const onScreen = useOnScreen()
  return (
    <footer className="flex h-7 shrink-0 items-center gap-3 overflow-hidden border-t border-line bg-bg1 px-3 text-11 whitespace-nowrap text-fg3">
      <span>{phase === 'ready' ? t.status.connected(location.host) : t.status.disconnected}</span>
      {onScreen && (
        <>
          <HealthMark />
          <Painted paint={details} className="num min-w-0 truncate text-fg2" />
        </>
      )}
      <span className="num ml-auto">{version}</span>
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
