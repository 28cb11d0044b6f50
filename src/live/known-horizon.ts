// What this process knows to be gone of a room: everything before a first sequence, because the
// room was deleted or its messages have expired. Invariant: it only moves forward, and what is gone
// leaves the ring with it. The store is asked at most once a second, and only when it matters.
import { type Horizon, type Log } from '../store/log.js'
import { type Ring } from './ring.js'

/** How long it is believed that nothing more is gone of a room. */
const BELIEVED_MS = 1000

export class KnownHorizon {
  readonly #room: string
  readonly #log: Pick<Log, 'horizon' | 'expires'>
  readonly #ring: Ring
  #horizon: Horizon = { first: 1, reason: 'deleted' }
  #askedAt = -Infinity

  constructor(room: string, log: Pick<Log, 'horizon' | 'expires'>, ring: Ring) {
    this.#room = room
    this.#log = log
    this.#ring = ring
  }

  /** As last heard; `lookBack` asks the store. */
  get known(): Horizon {
    return this.#horizon
  }

  /**
   * Finds out whether what a reader wants next is gone. The store is not asked if the ring has it,
   * unless the room's messages expire: the ring, too, must forget those.
   * @param seq what the reader wants next; default: the oldest entry in the ring
   */
  async lookBack(seq = this.#ring.first): Promise<void> {
    if (performance.now() - this.#askedAt < BELIEVED_MS) return
    if (seq >= this.#ring.first && !this.#log.expires(this.#room)) return
    this.#askedAt = performance.now()
    this.move(await this.#log.horizon(this.#room))
  }

  /** Takes a horizon that the store or a publication has told of. */
  move(horizon: Horizon): void {
    if (horizon.first <= this.#horizon.first) return
    this.#horizon = horizon
    this.#ring.forgetBefore(horizon.first)
  }
}
