// Decides whether a commit may start the log of a room. Invariant: a log is started only if the
// room has none anywhere; otherwise its sequences would be handed out a second time. A log may be
// out of sight for three reasons: the room is new, the log has already moved to the slot's next
// owner, or the nodes that had it are down.
import { setTimeout as sleep } from 'node:timers/promises'
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { type Written } from '../redis/node-pipeline.js'
import { Remembered } from '../remembered.js'
import { type Heads } from './heads.js'
import { logKey } from './keys.js'
import { LOG_GONE_MS_MAX } from './log.js'
import { type CommitOnceReply, type CommitReply } from './log-scripts.js'

const GONE_PAUSE_MS = 100
/**
 * If a log is missing again after this long, restart the clock: it may have been back in between.
 */
const GONE_FORGOTTEN_MS = 10 * LOG_GONE_MS_MAX

export class LogStart {
  readonly #cluster: Pick<Cluster, 'isStranded'>
  readonly #heads: Heads
  /** Rooms whose log existed and is missing: since when, and when that was last observed. */
  readonly #gone = new Remembered<{ readonly since: number; readonly seenAt: number }>()

  constructor(cluster: Pick<Cluster, 'isStranded'>, heads: Heads) {
    this.#cluster = cluster
    this.#heads = heads
  }

  /**
   * Sends a commit until the room has a log for it. The first try may not start a log. This costs
   * nothing for a room that has one, and a second commit for a new room.
   * @param isKnown whether the room is known to have had a log
   * @param commit sends the script; its argument is `1` if the script may start a log
   * @returns a reply that is not NoLog
   * @throws DialogsError STORE_UNAVAILABLE if the log stays out of sight until the deadline
   */
  async commit(
    room: string,
    isKnown: boolean,
    deadline: number,
    commit: (mayStart: '0' | '1') => Promise<Written>
  ): Promise<Written> {
    for (;;) {
      const written = await commit('0')
      if (hasLog(written)) return written
      if (await this.#mayStart(room, isKnown)) return await commit('1')
      if (performance.now() + GONE_PAUSE_MS > deadline) {
        throw new DialogsError(
          'STORE_UNAVAILABLE',
          'The log of the room is missing: its slot is half-moved (run npm run cluster -- finish), or the log was deleted. Try again with the same Idempotency-Key.'
        )
      }
      await sleep(GONE_PAUSE_MS)
    }
  }

  /** The log of a room was found. */
  found(room: string): void {
    if (this.#gone.size > 0) this.#gone.delete(room)
  }

  // A log that existed and cannot be found anywhere is probably on nodes that have died, so wait
  // for them. Only after LOG_GONE_MS_MAX does it count as deleted.
  async #mayStart(room: string, isKnown: boolean): Promise<boolean> {
    if (await this.#cluster.isStranded(logKey(room))) return false
    if (!isKnown) return true
    if (this.#noteGone(room) < LOG_GONE_MS_MAX) return false
    this.#gone.delete(room)
    this.#heads.forget(room)
    return true
  }

  /** Records that the log is missing and returns for how many ms it has been. */
  #noteGone(room: string): number {
    const now = performance.now()
    const known = this.#gone.get(room)
    const since = known === undefined || now - known.seenAt > GONE_FORGOTTEN_MS ? now : known.since
    this.#gone.set(room, { since, seenAt: now })
    return now - since
  }
}

// The replies of both scripts begin with the outcome.
const hasLog = ({ reply }: Written): boolean =>
  (reply as CommitReply | CommitOnceReply)[0] !== 'no log'
