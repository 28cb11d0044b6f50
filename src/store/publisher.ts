// Step 5 of a write: tells every process that has readers in the room. One SPUBLISH for all that
// was committed together. A publication that gets lost harms nobody for long: its readers find the
// gap at the next one, or by the audit.
import { type Cluster } from '../redis/cluster.js'
import { roomChannel, roomSlot } from './keys.js'
import { type Message } from '../message/message.js'
import { encodePublication } from '../message/frame.js'

export class Publisher {
  readonly #cluster: Cluster
  readonly #onFault: (error: unknown) => void
  readonly #underWay = new Set<Promise<void>>()

  constructor(cluster: Cluster, onFault: (error: unknown) => void) {
    this.#cluster = cluster
    this.#onFault = onFault
  }

  /** @param messages of consecutive sequences */
  publish(room: string, messages: readonly Message[]): void {
    const published: Promise<void> = this.#cluster
      .write(roomSlot(room), ['SPUBLISH', roomChannel(room), encodePublication(messages)])
      .then(
        () => {
          this.#underWay.delete(published)
        },
        error => {
          this.#underWay.delete(published)
          this.#onFault(error)
        }
      )
    this.#underWay.add(published)
  }

  /** Resolves when what was published so far is out, or was given up. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay)
  }
}
