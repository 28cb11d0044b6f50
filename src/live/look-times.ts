// When a room or a person that this process follows is next compared with the store: a look. As
// long as nothing is in doubt, a look is due a whole interval after the last news, so a thousand
// quiet rooms cost a command now and then. A doubt brings the look forward and adds a second one,
// because a command of a dead process may still be on its way to Redis. Invariant: after a doubt,
// the next look begins within `spreadMs`, whatever else was heard in the meantime.

/** How long after the first look the second one follows. */
const AGAIN_MS = 10_000
/** How often, at the least, the audit searches for due looks within one interval. */
const TURNS = 8
/**
 * The longest time between two searches while something is in doubt, and while nothing is.
 * Searching 15,000 rooms takes some ms.
 */
const TURN_MS_MAX = 500
const QUIET_TURN_MS_MAX = 10_000

export class LookTimes {
  #nextAt: number
  #againAt = -Infinity
  #isDoubted = false
  /**
   * The first look is not put off by what was heard: it spreads the looks at rooms that were opened
   * at the same moment.
   */
  #isFirst = true

  /** @param now by performance.now(), as all times here */
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
   * Whether to look now, and why. If so, this look counts as taken, and the next one is due after
   * an interval.
   * @param heardAt when it was last known to be up to date
   */
  takeDue(now: number, heardAt: number, intervalMs: number): false | 'doubt' | 'routine' {
    const mayWait = !this.#isDoubted && !this.#isFirst
    if (now < this.#nextAt) {
      // Its interval is shorter now if its readers have come back.
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

/** When to go through everything that is followed, to find what is due. */
export class Turns {
  /** The interval of the timer that calls `takeDue`. */
  readonly timerMs: number
  readonly #quietMs: number
  #lastAt = -Infinity
  #doubtedUntil = -Infinity

  constructor({ auditMs, recheckMs }: { readonly auditMs: number; readonly recheckMs: number }) {
    this.timerMs = Math.min(TURN_MS_MAX, auditMs / TURNS, recheckMs / TURNS)
    this.#quietMs = Math.min(QUIET_TURN_MS_MAX, auditMs / TURNS)
  }

  /** Something is in doubt and will be looked at twice. Until then, turns come more often. */
  doubt(now: number, spreadMs: number): void {
    const until = now + spreadMs + AGAIN_MS + 2 * this.timerMs
    this.#doubtedUntil = Math.max(this.#doubtedUntil, until)
  }

  /** Whether to go through everything now. If so, this turn counts as taken. */
  takeDue(now: number): boolean {
    if (now > this.#doubtedUntil && now < this.#lastAt + this.#quietMs) return false
    this.#lastAt = now
    return true
  }
}
