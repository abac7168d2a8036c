import { DropdownMenu } from 'radix-ui'
import { useEffect, useState } from 'react'
import { useStore } from 'zustand'
import { canSwing } from '../../engine/modulation'
import { t } from '../../messages'
import { openSettings } from '../settings/commands'
import { openSwing } from '../tempo/swings'
import { controller, setMapping, sourceLabel } from './controller'
import { parameterOf, targetOf } from './targets'

const m = t.controllers
const ITEM =
  'flex min-h-8 cursor-pointer items-center rounded-[3px] px-2 text-12 text-fg1 outline-none select-none data-[highlighted]:bg-bg3 max-md:min-h-11'

interface Place {
  target: string
  x: number
  y: number
}

/** What a right click on a control offers. Text fields keep the browser's own menu. */
export function MapMenu() {
  const [place, setPlace] = useState<Place | null>(null)
  useStore(controller.store, ({ profiles }) => profiles)
  useEffect(() => {
    const onMenu = (event: MouseEvent) => {
      const node = event.target instanceof Element ? event.target : null
      const target = node?.closest<HTMLElement>('[data-map]')?.dataset.map
      if (!target || node?.closest('input, textarea') || !targetOf(target)) return
      event.preventDefault()
      setPlace({ target, x: event.clientX, y: event.clientY })
    }
    window.addEventListener('contextmenu', onMenu)
    return () => window.removeEventListener('contextmenu', onMenu)
  }, [])
  if (!place) return null
  const { target, x, y } = place
  const parameter = parameterOf(target)
  const mapped = controller.mappings.filter((mapping) => mapping.target === target)
  return (
    <DropdownMenu.Root open modal={false} onOpenChange={(open) => !open && setPlace(null)}>
      <DropdownMenu.Trigger asChild>
        <span aria-hidden className="fixed h-0 w-0" style={{ left: x, top: y }} />
      </DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content
          align="start"
          collisionPadding={8}
          data-testid="map-menu"
          className="z-50 min-w-48 rounded-1 border border-edge bg-bg2 p-1 shadow-xl shadow-black/50"
        >
          <DropdownMenu.Label className="panel-title px-2 py-1.5">{targetOf(target)?.label}</DropdownMenu.Label>
          <DropdownMenu.Item
            className={ITEM}
            onSelect={() => {
              setMapping(true)
              controller.learn(target)
            }}
          >
            {m.map}
          </DropdownMenu.Item>
          {mapped.map(({ id, source }) => (
            <DropdownMenu.Item key={id} className={ITEM} onSelect={() => controller.remove(id)}>
              {m.unmap(sourceLabel(source))}
            </DropdownMenu.Item>
          ))}
          {parameter && canSwing(parameter.field) && (
            <DropdownMenu.Item className={ITEM} onSelect={() => openSwing(parameter.node, parameter.field)}>
              {t.modulation.menu}
            </DropdownMenu.Item>
          )}
          <DropdownMenu.Item className={ITEM} onSelect={() => openSettings('controllers')}>
            {m.edit}
          </DropdownMenu.Item>
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  )
}
