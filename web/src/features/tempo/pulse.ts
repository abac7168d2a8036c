import { scope } from '../../app'
import { docStore } from '../../doc/store'

/** Paints what moves with the beat: one animation frame for all of it, and none while there is no beat to be seen. */

type Painter = (position: number | null) => void

const painters = new Set<Painter>()
const { music } = scope
let frame = 0

const needed = () => painters.size > 0 && (docStore.getState().tempo.on || music.countIn.counting)

function paint(): void {
  frame = needed() ? requestAnimationFrame(paint) : 0
  const position = music.tempo.position()
  for (const painter of painters) painter(position)
}

function kick(): void {
  if (frame === 0) frame = requestAnimationFrame(paint)
}

docStore.subscribe((next, before) => {
  if (next.tempo !== before.tempo || next.modulations !== before.modulations) kick()
})
music.countIn.store.subscribe(kick)

/** Calls with every picture of the page while there is a beat, and once when it ends. */
export function onPulse(painter: Painter): () => void {
  painters.add(painter)
  kick()
  return () => painters.delete(painter)
}

const reduced = matchMedia('(prefers-reduced-motion: reduce)')

/** Whether nothing may flash. */
export const still = () => reduced.matches || document.documentElement.dataset.motion === 'less'
