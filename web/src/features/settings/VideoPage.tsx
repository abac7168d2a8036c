import { CircleCheck, CircleSlash } from 'lucide-react'
import { useState } from 'react'
import { api } from '../../api/client'
import type { Meters } from '../../engine/meters'
import { findPaths, PATHS, type Paths, verdict } from '../../engine/networkTest'
import { useOnScreen } from '../../hooks'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { fixed, rate } from '../../ui/format'
import { Painted } from '../../ui/Painted'
import { Routes } from '../source/OtherPrograms'
import { Fact, Facts, Note, Part, useLoaded, Waiting } from './parts'

const m = t.settings.video
const load = () => api.iceServers()
const size = (width: number | null, height: number | null) => (width && height ? `${width} × ${height}` : '–')

const STREAM: readonly { name: string; paint: (meters: Meters) => string }[] = [
  { name: m.codec, paint: ({ net }) => net.codec ?? '–' },
  { name: m.size, paint: ({ net }) => size(net.width, net.height) },
  { name: m.path, paint: ({ net }) => net.path ?? '–' },
  { name: m.in, paint: ({ net }) => rate(net.bitrateBps) },
  {
    name: m.out,
    paint: ({ net }) =>
      `${rate(net.sentBps)}  ${size(net.sentWidth, net.sentHeight)}  ${fixed(net.sentFps, 1, ' fps')}`,
  },
  { name: m.rtt, paint: ({ net, server }) => fixed(net.rttMs ?? server?.rtt_ms, 0, ' ms') },
  { name: m.jitter, paint: ({ net }) => fixed(net.jitterMs, 0, ' ms') },
  { name: m.delay, paint: ({ net }) => fixed(net.delayMs, 0, ' ms') },
  { name: m.loss, paint: ({ net }) => fixed(net.lossPercent, 1, ' %') },
  {
    name: m.frames,
    paint: ({ net }) => m.frameText(fixed(net.decoded, 0), fixed(net.dropped, 0), fixed(net.freezes, 0)),
  },
]

function NetworkTest({ servers }: { servers: RTCIceServer[] }) {
  const [paths, setPaths] = useState<Paths | 'testing' | null>(null)
  const test = () => {
    setPaths('testing')
    void findPaths(servers).then(setPaths, () => setPaths({ host: false, srflx: false, relay: false }))
  }
  const done = paths !== null && paths !== 'testing' ? paths : null
  return (
    <>
      <Button variant="outline" className="self-start max-md:h-11" disabled={paths === 'testing'} onClick={test}>
        {paths === 'testing' ? m.testing : m.test}
      </Button>
      <div role="status" data-testid="network-test" className="empty:hidden">
        {done && (
          <div className="flex flex-col gap-1.5 rounded-1 border border-line bg-bg2 p-3 text-12">
            {PATHS.map((path) => (
              <p key={path} className="flex items-center gap-2">
                {done[path] ? (
                  <CircleCheck size={14} className="text-ok" aria-hidden />
                ) : (
                  <CircleSlash size={14} className="text-fg3" aria-hidden />
                )}
                {m.paths[path]}
                <span className="ml-auto text-fg2">{done[path] ? m.open : m.closed}</span>
              </p>
            ))}
            <p className="pt-1 text-fg2">{m.verdict[verdict(done)]}</p>
          </div>
        )}
      </div>
    </>
  )
}

export function VideoPage() {
  const { data, problem, again } = useLoaded(load)
  const onScreen = useOnScreen()
  return (
    <>
      <Part title={m.stream}>
        {onScreen ? (
          <Facts>
            {STREAM.map(({ name, paint }) => (
              <Fact key={name} name={name}>
                <Painted paint={paint} className="num whitespace-pre-wrap" />
              </Fact>
            ))}
          </Facts>
        ) : (
          <Note>{m.noStream}</Note>
        )}
      </Part>
      <Part title={t.routes.title}>
        <Routes />
        <Note>{t.routes.instead}</Note>
      </Part>
      <Part title={m.ice}>
        <Note>{m.iceHint}</Note>
        {data ? (
          <>
            {data.length === 0 && <p className="text-12">{m.iceNone}</p>}
            <ul className="num m-0 flex list-none flex-col gap-1 p-0 text-12">
              {data
                .flatMap(({ urls }) => urls)
                .map((url) => (
                  <li key={url}>{url}</li>
                ))}
            </ul>
            <NetworkTest servers={data} />
          </>
        ) : (
          <Waiting problem={problem} again={again} />
        )}
      </Part>
    </>
  )
}
