// Work that takes milliseconds, such as sorting a large page: one piece in each turn of the event
// loop. Invariant: whoever else needs the loop waits for one piece, however many are due.
import { setImmediate as turn } from 'node:timers/promises'

export class LoopTurns {
  #last: Promise<unknown> = Promise.resolve()

  /** Resolves in a turn that nobody else gets. */
  async next(): Promise<void> {
    const free = this.#last
    this.#last = free.then(() => turn())
    await free
  }
}
