// When something that a process follows (a room, a person) is compared with the store next.
// Normally that is long after it was last heard of, and spread over the whole interval, so that a
// thousand quiet rooms cost a command now and then. A doubt brings it forward, and has it looked at
// a second time: a command of a dead process may still be on its way to Redis. Invariant: after a
// doubt the next look begins within its spread, whatever else was heard in the meantime.

/** How long after a look because of a doubt the second one follows. */
const AGAIN_MS = 10_000
/** The audit takes its turn at least this often within each of its intervals. */
const TURNS = 8
/** While something is in doubt, and while nothing is: going through 15,000 rooms takes some ms. */
const TURN_MS_MAX = 500
const QUIET_TURN_MS_MAX = 10_000

export class LookTimes {
  #nextAt: number
  #againAt = -Infinity
  #isDoubted = false
  /**
   * The first look is not put off by what was heard: it spreads what was opened at the same moment.
   */
  #isFirst = true

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
   * Whether to look now, and why. If so, the next look is an interval away.
   * @param heardAt when it was last known to be up to date
   */
  isDue(now: number, heardAt: number, intervalMs: number): false | 'doubt' | 'routine' {
    const mayWait = !this.#isDoubted && !this.#isFirst
    if (now < this.#nextAt) {
      // Its readers may have come back meanwhile.
      if (mayWait) this.#nextAt = Math.min(this.#nextAt, heardAt + intervalMs)
      return false
    }
    if (mayWait && heardAt + intervalMs > now) {
      this.#nextAt = heardAt + intervalMs
      return false
    }
    const why = this.#isDoubted ? 'doubt' : 'routine'
    this.#isFirst = false
    this.#isDoubted = this.#againAt > now
    this.#nextAt = this.#isDoubted ? this.#againAt : now + intervalMs
    return why
  }

  #bringForward(at: number): void {
    this.#nextAt = this.#isDoubted || this.#isFirst ? Math.min(this.#nextAt, at) : at
    this.#isDoubted = true
  }
}

/** When to go through all that is followed, and see what is due. */
export class Turns {
  /** The interval of the timer that asks `isDue`. */
  readonly timerMs: number
  readonly #quietMs: number
  #lastAt = -Infinity
  #doubtedUntil = -Infinity

  constructor({ auditMs, recheckMs }: { readonly auditMs: number; readonly recheckMs: number }) {
    this.timerMs = Math.min(TURN_MS_MAX, auditMs / TURNS, recheckMs / TURNS)
    this.#quietMs = Math.min(QUIET_TURN_MS_MAX, auditMs / TURNS)
  }

  /** Something is in doubt, and will be looked at twice. */
  doubt(now: number, spreadMs: number): void {
    const until = now + spreadMs + AGAIN_MS + 2 * this.timerMs
    this.#doubtedUntil = Math.max(this.#doubtedUntil, until)
  }

  isDue(now: number): boolean {
    if (now > this.#doubtedUntil && now < this.#lastAt + this.#quietMs) return false
    this.#lastAt = now
    return true
  }
}
