import { uiStore } from '../../app'
import { useModels } from '../../hooks'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { bytes } from '../../ui/format'
import { openModels } from '../models/open'
import { Note, Part, Terminal, useLoaded } from './parts'

const m = t.settings.storage

async function browserStorage() {
  const { usage = 0, quota = 0 } = (await navigator.storage?.estimate?.()) ?? {}
  return { usage, quota, persisted: (await navigator.storage?.persisted?.()) ?? false }
}

export function Storage() {
  const { ready, all, room } = useModels(({ models, room }) => {
    const list = Object.values(models)
    const whole = list.filter(({ files }) => files.every((file) => file.state === 'complete'))
    return { ready: whole.length, all: list.length, room }
  })
  const { data, again } = useLoaded(browserStorage)
  return (
    <>
      <Part title={m.models}>
        <p className="text-12">{m.ready(ready, all)}</p>
        {room !== null && <Note>{m.room(bytes(room))}</Note>}
        <Button
          variant="outline"
          className="self-start max-md:h-11"
          onClick={() => {
            uiStore.setState({ settings: null })
            openModels()
          }}
        >
          {m.open}
        </Button>
      </Part>
      <Part title={m.folders}>
        <Note>{m.foldersText}</Note>
        <Terminal command="scope --data-dir FOLDER --models-dir FOLDER --lora-dir FOLDER" />
      </Part>
      <Part title={m.browser}>
        <Note>{m.browserText}</Note>
        {data && (
          <>
            <p className="num text-12">{m.used(bytes(data.usage), bytes(data.quota))}</p>
            <Note>{data.persisted ? m.persisted : m.notPersisted}</Note>
            {!data.persisted && (
              <Button
                variant="outline"
                className="self-start max-md:h-11"
                onClick={() => void navigator.storage?.persist?.().then(again)}
              >
                {m.persist}
              </Button>
            )}
          </>
        )}
      </Part>
    </>
  )
}
