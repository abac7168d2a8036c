import { Gamepad2 } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import { scope } from '../../app'
import { Steering } from '../../engine/steering'
import { usePipeline, useSessionState } from '../../hooks'
import { t } from '../../messages'

const KEY = 'ctrl_input'

/** Everything the keyboard and the mouse do goes to the pipeline while the pointer is locked. Answers how to stop. */
function steer(): () => void {
  const steering = new Steering((input) => scope.steer({ [KEY]: input }))
  const stop = new AbortController()
  const { signal } = stop
  const key = (down: boolean) => (event: KeyboardEvent) => {
    if (event.key === 'Escape') return
    event.preventDefault()
    event.stopPropagation()
    if (!event.repeat) steering.press(event.code, down)
  }
  window.addEventListener('keydown', key(true), { capture: true, signal })
  window.addEventListener('keyup', key(false), { capture: true, signal })
  window.addEventListener('mousemove', ({ movementX, movementY }) => steering.move(movementX, movementY), { signal })
  window.addEventListener('mousedown', ({ button }) => steering.mouseButton(button, true), { signal })
  window.addEventListener('mouseup', ({ button }) => steering.mouseButton(button, false), { signal })
  return () => {
    stop.abort()
    steering.release()
  }
}

/** Where a pipeline's schema asks for keys and mouse: a click on the picture gives them to it, Escape takes them back. */
export function Steer() {
  const wanted = usePipeline()?.config_schema.properties[KEY] !== undefined
  const live = useSessionState() === 'live'
  const place = useRef<HTMLButtonElement>(null)
  const [locked, setLocked] = useState(false)
  useEffect(() => {
    const changed = () =>
      setLocked(document.pointerLockElement !== null && document.pointerLockElement === place.current)
    document.addEventListener('pointerlockchange', changed)
    return () => document.removeEventListener('pointerlockchange', changed)
  }, [])
  useEffect(() => (locked ? steer() : undefined), [locked])
  if (!wanted || !live) return null
  return (
    <button
      ref={place}
      type="button"
      data-testid="steer"
      aria-pressed={locked}
      onClick={() => void place.current?.requestPointerLock()}
      className="absolute inset-0 grid cursor-crosshair place-items-end justify-center pb-3 focus-visible:outline-offset-[-4px]"
    >
      <span className="flex items-center gap-2 rounded-full bg-bg0/85 px-3 py-1.5 text-12 font-medium text-fg1">
        <Gamepad2 size={15} className={locked ? 'text-live' : 'text-accent'} aria-hidden />
        {locked ? t.steer.on : t.steer.off}
      </span>
    </button>
  )
}
