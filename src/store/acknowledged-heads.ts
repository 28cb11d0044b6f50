// Keeps what no replica has out of pages. A message is in the log of its master a moment before a
// replica has it. If the master dies in this moment, or was cut off, the message is gone, and
// another one gets its sequence. A stream that has shown it is told, but a page cannot be. So a
// page is answered only after its newest entry was acknowledged, and with it all entries before.
// Nearly always that is known without asking: this process wrote or received the last message of
// the room, has asked before, or the message is old. Otherwise one script asks the log's master, in
// the same pipeline as the writes, and the usual WAIT follows it.
import { DialogsError } from '../errors.js'
import { timeOf } from '../message/message.js'
import { type Cluster } from '../redis/cluster.js'
import { ConnectionLost } from '../redis/connection.js'
import { Remembered } from '../remembered.js'
import { FRESH_MS } from './history.js'
import { logKey, roomSlot } from './keys.js'
import { CONFIRM } from './log-scripts.js'

/** A sequence, and the time of its entry; 0 for an entry that is lost. */
type Place = { readonly seq: number; readonly ms: number }

export type Acknowledgement =
  | 'acknowledged'
  /** The entry has left the tail of the log, so it is in a segment, or gone with its room. */
  | 'sealed'
  /** The master has another entry at this sequence, or was lost. The log has to be read again. */
  | 'unknown'

export class AcknowledgedHeads {
  readonly #cluster: Pick<Cluster, 'write'>
  /** Per room, the last entry of which this process knows that a replica has it. */
  readonly #known = new Remembered<Place>()
  readonly #asking = new Map<string, Promise<Acknowledgement>>()

  constructor(cluster: Pick<Cluster, 'write'>) {
    this.#cluster = cluster
  }

  /** A replica has this entry: its message was published, or its commit acknowledged. */
  note(room: string, seq: number, ms: number): void {
    this.#known.set(room, { seq, ms })
  }

  /**
   * Whether a replica has an entry of a room's log. Costs nothing if that is known, or if the entry
   * is so old that its writer has long had an answer.
   * @throws DialogsError STORE_UNAVAILABLE if no replica acknowledges, or the store does not answer
   * before the deadline
   */
  async ask(room: string, { seq, ms }: Place, deadline: number): Promise<Acknowledgement> {
    if (ms <= Date.now() - FRESH_MS) return 'acknowledged'
    const known = this.#known.get(room)
    if (known?.seq === seq && known.ms === ms) return 'acknowledged'
    const key = `${seq} ${ms} ${room}`
    let asking = this.#asking.get(key)
    if (asking === undefined) {
      asking = this.#ask(room, seq, ms, deadline).finally(() => {
        this.#asking.delete(key)
      })
      this.#asking.set(key, asking)
    }
    return await asking
  }

  async #ask(room: string, seq: number, ms: number, deadline: number): Promise<Acknowledgement> {
    try {
      const { reply, replicated } = await this.#cluster.write(
        roomSlot(room),
        ['EVALSHA', CONFIRM.sha, '1', logKey(room), String(seq)],
        deadline
      )
      if (reply === '') return 'sealed'
      if (reply === null || timeOf(String(reply)) !== ms) return 'unknown'
      await replicated
    } catch (error) {
      if (error instanceof ConnectionLost) return 'unknown'
      if (!(error instanceof DialogsError) || UNREADABLE.has(error.code)) throw error
      if (error.code !== 'NOT_REPLICATED') return 'acknowledged'
      throw new DialogsError(
        'STORE_UNAVAILABLE',
        'The newest message of the room has not reached a replica: try again.',
        { cause: error }
      )
    }
    this.note(room, seq, ms)
    return 'acknowledged'
  }
}

/**
 * Any other refusal is about writes: Redis is full or read-only, for example. Pages are answered
 * all the same. While nothing can be written, nothing new can be missing on the replicas for long.
 */
const UNREADABLE: ReadonlySet<string> = new Set(['STORE_UNAVAILABLE', 'STORE_LOST'])
