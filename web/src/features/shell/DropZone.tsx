import { useEffect, useState } from 'react'
import { t } from '../../messages'
import { openFile } from '../install/launch'

/** Files dropped anywhere are imported, or become the source; the page never navigates away to them. */
export function DropZone() {
  const [over, setOver] = useState(false)
  useEffect(() => {
    const files = (event: DragEvent) => event.dataTransfer?.types.includes('Files') === true
    const enter = (event: DragEvent) => {
      if (!files(event)) return
      event.preventDefault()
      // Some panels take files themselves.
      setOver(!(event.target instanceof Element && event.target.closest('[data-takes-files]')))
    }
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false)
    }
    const drop = (event: DragEvent) => {
      if (!files(event)) return
      event.preventDefault()
      setOver(false)
      const [file] = event.dataTransfer?.files ?? []
      if (file) openFile(file)
    }
    window.addEventListener('dragenter', enter)
    window.addEventListener('dragover', enter)
    window.addEventListener('dragleave', leave)
    window.addEventListener('drop', drop)
    return () => {
      window.removeEventListener('dragenter', enter)
      window.removeEventListener('dragover', enter)
      window.removeEventListener('dragleave', leave)
      window.removeEventListener('drop', drop)
    }
  }, [])
  if (!over) return null
  return (
    <div className="pointer-events-none fixed inset-3 z-50 grid place-items-center rounded-2 p-6 text-center border-2 border-dashed border-accent bg-bg0/80 text-20 font-semibold">
      {t.project.drop}
    </div>
  )
}
