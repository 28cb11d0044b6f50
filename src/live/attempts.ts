// Something that is done until it has succeeded, once at a time, with pauses between the attempts.
// Invariant: after each call of `run` it is begun once more, be it that it is under way: what that sees may be older than the call.
import { Pause } from './pause.js'

export class Attempts {
  readonly #attempt: () => Promise<void>
  readonly #onFailed: (error: unknown) => void
  #running: Promise<void> | undefined
  #isDue = false
  #isStopped = false

  constructor (attempt: () => Promise<void>, onFailed: (error: unknown) => void) {
    this.#attempt = attempt
    this.#onFailed = onFailed
  }

  get isRunning (): boolean {
    return this.#running !== undefined
  }

  /** Resolves when an attempt that began after this call has succeeded, or it was stopped. */
  async run (): Promise<void> {
    if (this.#isStopped) return
    this.#isDue = true
    this.#running ??= this.#run()
    await this.#running
  }

  stop (): void {
    this.#isStopped = true
  }

  async #run (): Promise<void> {
    const pause = new Pause()
    while (this.#isDue && !this.#isStopped) {
      this.#isDue = false
      try {
        await this.#attempt()
      } catch (error) {
        this.#onFailed(error)
        this.#isDue = true
        await pause.wait()
      }
    }
    // Not in a `finally` of the promise: a call in the turn between would be answered without an attempt.
    this.#running = undefined
  }
}
