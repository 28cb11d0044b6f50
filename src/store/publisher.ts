// Step 5 of a write: tells all processes that have readers in the room, with one SPUBLISH for each
// group. If a publication fails, its channel is reported, so that every process that follows the
// channel looks at the log (peers.ts).
import { type Cluster } from '../redis/cluster.js'
import { roomChannel, roomSlot } from './keys.js'
import { type Entry } from '../message/message.js'
import { encodePublication } from '../message/publication.js'

export class Publisher {
  readonly #cluster: Cluster
  readonly #onFault: (error: unknown, channel: string) => void
  readonly #underWay = new Set<Promise<void>>()

  constructor(cluster: Cluster, onFault: (error: unknown, channel: string) => void) {
    this.#cluster = cluster
    this.#onFault = onFault
  }

  /** @param messages messages and changes, with consecutive sequences. Nobody waits for it */
  publish(room: string, messages: readonly Entry[]): void {
    const published: Promise<void> = this.#cluster
      .unacknowledged(roomSlot(room), ['SPUBLISH', roomChannel(room), encodePublication(messages)])
      .then(
        () => {
          this.#underWay.delete(published)
        },
        error => {
          this.#underWay.delete(published)
          this.#onFault(error, roomChannel(room))
        }
      )
    this.#underWay.add(published)
  }

  /** Resolves when all publications so far have been sent or given up. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay)
  }
}
