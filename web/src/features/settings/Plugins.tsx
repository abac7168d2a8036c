import { TriangleAlert } from 'lucide-react'
import { api } from '../../api/client'
import { t } from '../../messages'
import { Note, Part, Terminal, useLoaded, Waiting } from './parts'

const m = t.settings.plugins
const load = () => api.plugins()

export function Plugins() {
  const { data, problem, again } = useLoaded(load)
  return (
    <>
      <Part title={t.settings.pages.plugins}>
        <Note>{m.intro}</Note>
        {data ? (
          <ul className="m-0 flex list-none flex-col gap-2 p-0">
            {data.plugins.map((plugin) => (
              <li
                key={plugin.name}
                data-testid={`plugin-${plugin.name}`}
                className="rounded-2 border border-line bg-bg2 p-3"
              >
                <p className="flex items-baseline gap-2 text-13 font-semibold">
                  {plugin.name}
                  <span className="num text-11 font-normal text-fg3">{plugin.version}</span>
                  {plugin.editable && <span className="text-11 font-normal text-fg3">{m.editable}</span>}
                </p>
                <p className="text-12 text-fg2">
                  {m.pipelines(
                    plugin.pipelines.map((brought) => brought.pipeline_name ?? brought.pipeline_id).join(', '),
                  )}
                </p>
              </li>
            ))}
            {data.failed_plugins.map((failed) => (
              <li
                key={failed.package_name}
                data-testid={`plugin-failed-${failed.package_name}`}
                className="rounded-2 border border-warn/70 bg-bg2 p-3"
              >
                <p className="flex items-center gap-2 text-13 font-semibold">
                  <TriangleAlert size={14} className="text-warn" aria-hidden />
                  {failed.package_name}
                  <span className="text-11 font-normal text-warn">{m.failed}</span>
                </p>
                <p className="text-12 text-fg2 [overflow-wrap:anywhere]">{failed.error_message}</p>
              </li>
            ))}
            {data.plugins.length + data.failed_plugins.length === 0 && <li className="text-12 text-fg3">{m.none}</li>}
          </ul>
        ) : (
          <Waiting problem={problem} again={again} />
        )}
      </Part>
      <Part title={m.how}>
        <Note>{m.howText}</Note>
        <Terminal command="scope plugins install FOLDER" />
        <Terminal command="scope plugins list" />
        <Terminal command="scope plugins remove NAME" />
      </Part>
    </>
  )
}
