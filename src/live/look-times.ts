// When something that a process follows (a room, a person) is compared with the store next.
// Normally that is long after it was last heard of, and spread over the whole interval, so that a
// thousand quiet rooms cost a command now and then. A doubt brings it forward, and has it looked at
// a second time: a command of a dead process may still be on its way to Redis. Invariant: after a
// doubt the next look begins within its spread, whatever else was heard in the meantime.

/** How long after a look because of a doubt the second one follows. */
const AGAIN_MS = 10_000

export class LookTimes {
  #nextAt: number
  #againAt = -Infinity
  // The first look is not put off by what was heard: it spreads what was opened at the same moment.
  #isDoubted = true

  /** @param now by performance.now(), as everything here */
  constructor(now: number, intervalMs: number) {
    this.#nextAt = now + Math.random() * intervalMs
  }

  /** Looks within `spreadMs`, and once more after a while. */
  doubt(now: number, spreadMs: number): void {
    this.#bringForward(now + Math.random() * spreadMs)
    this.#againAt = now + spreadMs + AGAIN_MS
  }

  /** Looks once, after a while. */
  doubtLater(now: number, spreadMs: number): void {
    this.#bringForward(now + AGAIN_MS + Math.random() * spreadMs)
  }

  /**
   * Whether to look now. If so, the next look is an interval away.
   * @param heardAt when it was last known to be up to date
   */
  isDue(now: number, heardAt: number, intervalMs: number): boolean {
    if (now < this.#nextAt) {
      // Its readers may have come back meanwhile.
      if (!this.#isDoubted) this.#nextAt = Math.min(this.#nextAt, heardAt + intervalMs)
      return false
    }
    if (!this.#isDoubted && heardAt + intervalMs > now) {
      this.#nextAt = heardAt + intervalMs
      return false
    }
    this.#isDoubted = this.#againAt > now
    this.#nextAt = this.#isDoubted ? this.#againAt : now + intervalMs
    return true
  }

  #bringForward(at: number): void {
    this.#nextAt = this.#isDoubted ? Math.min(this.#nextAt, at) : at
    this.#isDoubted = true
  }
}
