// Repeats an operation until it succeeds, one attempt at a time, with pauses after failures.
// Invariant: a call of `run` during an attempt starts another attempt after it, because the current
// one may have read before the call.
import { Pause } from './pause.js'

export class Retrier {
  readonly #attempt: () => Promise<void>
  readonly #onFailed: (error: unknown) => void
  #running: Promise<void> | undefined
  #isDue = false
  #isStopped = false

  constructor(attempt: () => Promise<void>, onFailed: (error: unknown) => void) {
    this.#attempt = attempt
    this.#onFailed = onFailed
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  /**
   * Resolves when an attempt that began after this call has succeeded, or when the retrier is
   * stopped.
   */
  async run(): Promise<void> {
    if (this.#isStopped) return
    this.#isDue = true
    this.#running ??= this.#run()
    await this.#running
  }

  stop(): void {
    this.#isStopped = true
  }

  async #run(): Promise<void> {
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
    // Not in `finally` of the promise, which runs a turn later: a call in between would resolve
    // without an attempt.
    this.#running = undefined
  }
}
