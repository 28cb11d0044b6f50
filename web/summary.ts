// What a screen reader is told of a busy room: how many messages came, every few seconds, in place
// of each of them.
import { find } from './find.js'

const WINDOW_MS = 1000
const TELL_MS = 5000

export class Summary {
  readonly #status = find(HTMLElement, '#summary')
  #lastAt = -Infinity
  #count = 0
  #busyUntil = -Infinity
  #timer: ReturnType<typeof setTimeout> | undefined

  /** Whether more than one message a second comes. */
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
