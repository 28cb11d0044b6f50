// Passes on signals, such as "ann is typing": published to a room's readers and stored nowhere.
// Invariant: a signal costs one SPUBLISH, and no memory beyond its request. It has no id and no
// place in the room's order. A client that is not reading at that moment, or reads slowly, never
// gets it. The number per second is limited, because each one is written to every reader.
import { encodeSignal, type Signal } from '../message/publication.js'
import { DialogsError, RateLimited } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { roomChannel, roomSlot } from '../store/keys.js'

/** After this long, it is no longer news that someone is typing. */
const STALE_MS = 1000

export class Signals {
  readonly #cluster: Pick<Cluster, 'command'>
  readonly #perSecondMax: number
  #allowance: number
  #countedAt = performance.now()

  /** @param perSecondMax signals per second, and as many at once after a quiet second */
  constructor(cluster: Pick<Cluster, 'command'>, perSecondMax: number) {
    this.#cluster = cluster
    this.#perSecondMax = perSecondMax
    this.#allowance = perSecondMax
  }

  /**
   * Publishes a signal to whoever reads the room now.
   * @throws DialogsError SIGNALS_OFF when none are passed on at all; RateLimited when the process
   * has passed on too many; a 503 code when Redis does not accept it within a second, because it is
   * not worth passing on later
   */
  async send(signal: Signal): Promise<void> {
    // Not RATE_LIMITED: a client would come back for ever.
    if (this.#perSecondMax === 0) {
      throw new DialogsError('SIGNALS_OFF', 'This service passes on no signals: send none.')
    }
    if (!this.#take()) {
      throw new RateLimited(
        'RATE_LIMITED',
        `This process passes on at most ${this.#perSecondMax} signals a second: send fewer.`,
        { limit: this.#perSecondMax }
      )
    }
    await this.#cluster.command(
      roomSlot(signal.room),
      ['SPUBLISH', roomChannel(signal.room), encodeSignal(signal)],
      performance.now() + STALE_MS
    )
  }

  // A token bucket that holds one second.
  #take(): boolean {
    const now = performance.now()
    const gained = ((now - this.#countedAt) / 1000) * this.#perSecondMax
    this.#allowance = Math.min(this.#perSecondMax, this.#allowance + gained)
    this.#countedAt = now
    if (this.#allowance < 1) return false
    this.#allowance--
    return true
  }
}
