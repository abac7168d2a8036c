import { MonitorDown } from 'lucide-react'
import { useStore } from 'zustand'
import { t } from '../../messages'
import { Button } from '../../ui/Button'
import { Note, Part } from '../settings/parts'
import { install, installStore } from './install'

/** On the settings' first page: the page in a window of its own. */
export function InstallPart() {
  const { offer, standalone } = useStore(installStore)
  return (
    <Part title={t.install.title}>
      <Note>{standalone ? t.install.installed : offer ? t.install.offered : t.install.byHand}</Note>
      {offer && (
        <Button
          variant="outline"
          className="self-start max-md:h-11"
          data-testid="install-app"
          onClick={() => void install()}
        >
          <MonitorDown size={14} aria-hidden />
          {t.install.install}
        </Button>
      )}
    </Part>
  )
}
