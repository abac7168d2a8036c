/** Keys and mouse as the input of a pipeline that asks for them: what is held down, and how far the mouse has gone. */

export interface SteeringInput {
  /** Codes as in `KeyboardEvent.code`, and MouseLeft, MouseMiddle, MouseRight. */
  button: string[]
  /** Pixels since the last message. */
  mouse: [number, number]
}

const EVERY_MS = 34
const MOUSE = ['MouseLeft', 'MouseMiddle', 'MouseRight', 'MouseBack', 'MouseForward']

export class Steering {
  private readonly held = new Set<string>()
  private moved: [number, number] = [0, 0]
  private timer: ReturnType<typeof setTimeout> | null = null

  constructor(private readonly send: (input: SteeringInput) => void) {}

  /** A key or mouse button goes down or up: said at once. */
  press(code: string, down: boolean): void {
    if (this.held.has(code) === down) return
    if (down) this.held.add(code)
    else this.held.delete(code)
    this.flush()
  }

  mouseButton(button: number, down: boolean): void {
    const code = MOUSE[button]
    if (code) this.press(code, down)
  }

  /** Movements of the mouse add up and leave thirty times a second. */
  move(x: number, y: number): void {
    this.moved = [this.moved[0] + x, this.moved[1] + y]
    this.timer ??= setTimeout(() => this.flush(), EVERY_MS)
  }

  /** Lets go of everything. */
  release(): void {
    const something = this.held.size > 0 || this.timer !== null
    this.held.clear()
    this.moved = [0, 0]
    if (something) this.flush()
  }

  private flush(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    const mouse = this.moved
    this.moved = [0, 0]
    this.send({ button: [...this.held], mouse })
  }
}
