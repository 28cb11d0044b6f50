// The audit: compares what this process follows (rooms, or people) with the store, because the last
// publication on a channel may have been lost, and no later one proves it. One for all rooms and
// one for all people. Invariant: whatever is put in doubt is looked at within `recheckMs`, or
// longer if there is very much of it, and once more 10 s after that. While nothing is in doubt,
// hardly anything is looked at: quiet rooms are free. LookTimes decides when each one is due.
import { type LookTimes, Turns } from './look-times.js'

export type AuditOptions = {
  /** How long a quiet room may go without being compared with the store. */
  readonly auditMs: number
  /** Over how long everything is compared with the store when all of it is in doubt. */
  readonly recheckMs: number
}

type Audited = { readonly looks: LookTimes }

export class Audit<T extends Audited> {
  readonly #followed: ReadonlyMap<string, T>
  readonly #recheckMs: number
  readonly #looksPerMsMax: number
  readonly #turns: Turns
  readonly #timer: NodeJS.Timeout

  /**
   * @param followed what is followed at any time; the audit only reads it
   * @param looksPerMsMax with more to look at for each ms of `recheckMs`, a recheck takes longer: a
   * process must not flood the store when another one has died
   * @param look compares one with the store if it is due
   */
  constructor(
    followed: ReadonlyMap<string, T>,
    options: AuditOptions,
    looksPerMsMax: number,
    look: (entry: T, now: number) => void
  ) {
    this.#followed = followed
    this.#recheckMs = options.recheckMs
    this.#looksPerMsMax = looksPerMsMax
    this.#turns = new Turns(options)
    this.#timer = setInterval(() => {
      const now = performance.now()
      if (!this.#turns.takeDue(now)) return
      for (const entry of followed.values()) look(entry, now)
    }, this.#turns.timerMs).unref()
  }

  /** Publications to any channel may have been lost: everything is looked at, twice. */
  doubtAll(): void {
    const now = performance.now()
    const spreadMs = Math.max(this.#recheckMs, this.#followed.size / this.#looksPerMsMax)
    for (const { looks } of this.#followed.values()) looks.doubt(now, spreadMs)
    this.#turns.doubt(now, spreadMs)
  }

  /**
   * For one whose channel is in doubt and that has just been looked at: it is looked at once more,
   * because a command of a dead process may still be on its way to Redis.
   */
  lookAgain({ looks }: T): void {
    this.#lookLater(looks, 0)
  }

  /**
   * For one that has just been subscribed while slots or nodes changed: a writer that does not know
   * the new owner of the slot may publish to the previous one for a while.
   */
  lookAfterChange({ looks }: T): void {
    this.#lookLater(looks, this.#recheckMs)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #lookLater(looks: LookTimes, spreadMs: number): void {
    const now = performance.now()
    looks.doubtLater(now, spreadMs)
    this.#turns.doubt(now, spreadMs)
  }
}
