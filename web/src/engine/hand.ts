/** Whether a pointer holds on to something, and how often one has begun to. */
export class Hand {
  held = false
  count = 0

  constructor(target: EventTarget = window) {
    const end = () => {
      this.held = false
    }
    target.addEventListener(
      'pointerdown',
      () => {
        this.held = true
        this.count += 1
      },
      { capture: true },
    )
    for (const type of ['pointerup', 'pointercancel']) target.addEventListener(type, end, { capture: true })
    // Of the window alone: what loses the focus inside of it says nothing about the pointer.
    target.addEventListener('blur', end)
  }
}
