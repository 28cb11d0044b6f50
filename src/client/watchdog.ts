// Notices silence. Invariant: `onSilence` is called once, when nothing was heard for the expected
// time, and never while the watchdog is held. There is one timer, and it is set again only when it
// fires, because events may come by the thousand.

export class Watchdog {
  readonly #onSilence: () => void
  #deadline = Infinity
  #timer: ReturnType<typeof setTimeout> | undefined
  #timerMs = 0

  constructor(onSilence: () => void) {
    this.#onSilence = onSilence
  }

  /** From now on, something must be heard within this time. */
  expectWithin(ms: number): void {
    this.#deadline = performance.now() + ms
    // A timer that fires too late would notice too late.
    if (this.#timer === undefined || ms < this.#timerMs) this.#watch(ms)
  }

  /** Nobody listens for now, so silence means nothing. */
  hold(): void {
    this.#deadline = Infinity
  }

  stop(): void {
    this.hold()
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #watch(ms: number): void {
    clearTimeout(this.#timer)
    this.#timerMs = ms
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const leftMs = this.#deadline - performance.now()
      if (leftMs <= 0) this.#onSilence()
      else if (leftMs !== Infinity) this.#watch(leftMs)
    }, ms)
  }
}
