// What a screen reader announces in a busy room: every few seconds how many messages came, instead
// of each message.
import { find } from './find.js'

const WINDOW_MS = 1000
const TELL_MS = 5000

export class Summary {
  readonly #status = find(HTMLElement, '#summary')
  #lastAt = -Infinity
  #count = 0
  #busyUntil = -Infinity
  #timer: ReturnType<typeof setTimeout> | undefined

  /** Whether more than one message a second arrives. */
  get isBusy(): boolean {
    return performance.now() < this.#busyUntil
  }

  /** One more message has come. */
  count(): void {
    const now = performance.now()
    if (now - this.#lastAt < WINDOW_MS) {
      this.#busyUntil = now + TELL_MS
      this.#timer ??= setTimeout(() => this.#tell(), TELL_MS)
    }
    this.#lastAt = now
    this.#count++
  }

  #tell(): void {
    this.#timer = undefined
    this.#status.textContent = `${this.#count} new messages`
    this.#count = 0
  }
}
