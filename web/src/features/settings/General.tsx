import { api } from '../../api/client'
import { uiStore } from '../../app'
import { useUi } from '../../hooks'
import { t } from '../../messages'
import { InstallPart } from '../install/InstallPart'
import { Away, Fact, Facts, Note, Part, Toggle, useLoaded, Waiting } from './parts'

const m = t.settings.general
const load = () => api.health()

export function General() {
  const { data, problem, again } = useLoaded(load)
  const { singleKeys, lessMotion } = useUi((ui) => ({ singleKeys: ui.singleKeys, lessMotion: ui.lessMotion }))
  const system = matchMedia('(prefers-reduced-motion: reduce)').matches
  return (
    <>
      <Part title={m.server}>
        {data ? (
          <Facts>
            <Fact name={m.version}>
              <span className="num">{[data.version, data.git_commit].filter(Boolean).join(' · ')}</span>
            </Fact>
            <Fact name={m.address}>
              <span className="num">{location.origin}</span>
            </Fact>
            <Fact name={m.since}>{new Date(data.server_start_time * 1000).toLocaleString()}</Fact>
          </Facts>
        ) : (
          <Waiting problem={problem} again={again} />
        )}
        <div className="flex gap-4">
          <Away href="/docs">{m.api}</Away>
          <Away href="/openapi.json">{m.openapi}</Away>
        </div>
      </Part>
      <Part title={m.behaviour}>
        <Toggle
          label={m.singleKeys}
          hint={m.singleKeysHint}
          testId="single-keys"
          checked={singleKeys}
          onChange={(next) => uiStore.setState({ singleKeys: next })}
        />
        <Toggle
          label={m.lessMotion}
          hint={system ? m.lessMotionSystem : m.lessMotionHint}
          testId="less-motion"
          checked={lessMotion}
          onChange={(next) => uiStore.setState({ lessMotion: next })}
        />
      </Part>
      <InstallPart />
      <Part title={m.theme}>
        <Note>{m.themeText}</Note>
      </Part>
    </>
  )
}
