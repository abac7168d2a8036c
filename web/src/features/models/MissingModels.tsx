import { CloudDownload } from 'lucide-react'
import { scope, uiStore } from '../../app'
import { filesOf, isRunning, together } from '../../engine/models'
import { useCatalog, useChain, useModels, useNeeds } from '../../hooks'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { bytes } from '../../ui/format'
import { KeyForm } from './KeyForm'
import { amount, NoRoom, Progress, Trouble } from './parts'

/** What the pipeline and its processors lack, with one way to get it all. `start`: then they start by themselves. */
export function MissingModels({ start = true }: { start?: boolean }) {
  const needs = useNeeds(useChain())
  const pipelines = useCatalog((catalog) => catalog.pipelines)
  const { models, room, refused, startAfter } = useModels((state) => state)
  const lacking = needs.flatMap((need) => {
    const model = models[need.pipelineId]
    const files = model && filesOf(model, need)
    return model && files && files.state !== 'complete' ? [{ need, model, files }] : []
  })
  if (lacking.length === 0) {
    return (
      <div className="mt-3">
        <p className="text-13 font-medium text-ok">{t.models.allThere}</p>
        <Button variant="primary" size="m" className="mt-3" onClick={() => void scope.start()}>
          {t.header.start}
        </Button>
      </div>
    )
  }
  const names = lacking.map(({ need, model }) => pipelines[need.pipelineId]?.name ?? model.name).join(', ')
  const running = lacking.flatMap(({ model }) => (isRunning(model.progress) ? [model.progress] : []))
  const missing = lacking.reduce((all, { files }) => all + files.missing, 0)
  const exact = lacking.every(({ files }) => files.exact)
  const begun = lacking.some(({ files }) => files.state !== 'missing')
  const troubles = lacking.flatMap(({ need, model }) => refused[need.pipelineId] ?? model.progress?.error ?? [])
  const main = start ? (scope.pipeline()?.id ?? null) : null
  const starts = main !== null && startAfter === main
  const secret = lacking.some(({ model }) => model.progress?.error_code === 'authentication')
  const fetch = () =>
    void scope.models.download(
      lacking.map(({ need }) => need),
      main,
    )
  const tight = room !== null && room < missing
  return (
    <div className="mt-3 flex flex-col gap-3" data-testid="missing-models">
      {running.length > 0 ? (
        <>
          <Progress download={together(running)} name={names} />
          <div className="flex items-center gap-3">
            <Button
              variant="outline"
              size="m"
              data-testid="cancel-download"
              onClick={() => void scope.models.cancel(lacking.map(({ need }) => need.pipelineId))}
            >
              {t.models.cancel}
            </Button>
            {starts && <p className="text-12 text-fg3">{t.models.starts}</p>}
          </div>
        </>
      ) : (
        <>
          {troubles.map((text) => (
            <Trouble key={text}>{text}</Trouble>
          ))}
          {secret && <KeyForm onStored={fetch} />}
          {tight && <NoRoom need={missing} room={room} />}
          <div className="flex flex-wrap items-center gap-2">
            {tight ? (
              <Button variant="outline" size="m" onClick={() => void scope.models.refresh()}>
                {t.models.lookAgain}
              </Button>
            ) : (
              <Button variant={secret ? 'outline' : 'primary'} size="m" data-testid="download-missing" onClick={fetch}>
                <CloudDownload size={16} aria-hidden />
                {troubles.length > 0
                  ? t.models.again
                  : begun
                    ? t.models.resume(amount(missing, exact))
                    : t.models.download(amount(missing, exact))}
              </Button>
            )}
            <Button variant="ghost" size="m" onClick={() => uiStore.setState({ models: true })}>
              {t.models.details}
            </Button>
          </div>
          {room !== null && !tight && <p className="text-11 text-fg3 max-md:hidden">{t.models.room(bytes(room))}</p>}
        </>
      )}
    </div>
  )
}
