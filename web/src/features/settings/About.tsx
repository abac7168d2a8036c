import { notify, report } from '../../app'
import { useCatalog } from '../../hooks'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { Note, Part } from './parts'
import { saveLog, saveReport } from './report'

const m = t.settings.about

export function About() {
  const version = useCatalog((catalog) => catalog.version)
  return (
    <>
      <Part title={`${t.app.name} ${version}`}>
        <Note>{m.text}</Note>
        <Note>{m.licence}</Note>
      </Part>
      <Part title={m.report}>
        <Note>{m.reportText}</Note>
        <div className="flex flex-wrap gap-2">
          <Button
            variant="primary"
            className="max-md:h-11"
            data-testid="save-report"
            onClick={() => void saveReport().then((name) => notify(m.saved(name)))}
          >
            {m.save}
          </Button>
          <Button
            variant="outline"
            className="max-md:h-11"
            data-testid="save-log"
            onClick={() =>
              void saveLog().then(
                (name) => notify(m.saved(name)),
                () => report(m.logFailed),
              )
            }
          >
            {m.saveLog}
          </Button>
        </div>
      </Part>
    </>
  )
}
