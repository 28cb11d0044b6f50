// Step 3 of a write: from here on a message exists, and has its sequence.
// Invariant: a commit that is run again, because nobody knows whether it was carried out, finds itself and commits nothing; whatever was
// written, sealed and trimmed in between. Publishing and answering are the appender's.
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { ConnectionLost } from '../redis/connection.js'
import { logKey, onceKey, roomSlot, usersKey } from '../redis/keys.js'
import { COMMIT, COMMIT_ONCE, COUNT, TOUCH_LOG } from '../redis/scripts.js'
import { Lanes } from './lanes.js'
import { type Log } from './log.js'

export type Commit = {
  /** The sequence of the group's first message. */
  readonly first: number
  /** Entries in the tail; 0 when that is not known. */
  readonly logLength: number
  /**
   * Step 4 for the log: the first sequence once a replica has it, mostly the same. Undefined when the group's idempotency key was taken by
   * another message: then it is not in the log. Rejects with DialogsError when nobody acknowledges before the deadline.
   */
  readonly lasting: Promise<number | undefined>
}

type Attempt = { readonly first: number, readonly logLength: number, readonly isOurs: boolean, readonly replicated: Promise<void> }

export type CommitterOptions = {
  readonly groupLengthMax: number
  readonly onceTtlS: number
  readonly onFault: (what: 'count', error: unknown) => void
}

const HEADS_REMEMBERED = 10_000
const GONE_PAUSE_MS = 100
/** Much longer than a failover and the return of who moves slots. */
const GONE_MS_MAX = 30_000

export class Committer {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #options: CommitterOptions
  readonly #counting: Lanes<readonly [user: string, count: number]>
  /** Per room, the last sequence known: what COMMIT looks for itself behind. An old one costs time, a wrong one nothing. */
  readonly #heads = new Map<string, number>()
  /** Rooms whose log was there and is not, since when. */
  readonly #goneSince = new Map<string, number>()

  constructor (cluster: Cluster, log: Log, options: CommitterOptions) {
    this.#cluster = cluster
    this.#log = log
    this.#options = options
    this.#counting = new Lanes(options.groupLengthMax, (room, group) => this.#count(room, group))
  }

  /**
   * Commits a group, all or none, with consecutive sequences. `counts` says how many messages of which users they are.
   * @throws DialogsError as Cluster.write; then the group may be committed or not
   */
  async commit (room: string, references: readonly string[], counts: ReadonlyMap<string, number>, deadline: number): Promise<Commit> {
    // Known before the first attempt: whatever our own attempts commit lies behind it.
    const after = this.#heads.get(room) ?? 0
    return await this.#persist(deadline, isAgain => this.#attempt(room, references, counts, after, isAgain, deadline))
  }

  /**
   * Commits one message under an idempotency key, unless that has led to another one: check and commit are one atomic step.
   * @throws DialogsError as Cluster.write; then the message may be committed or not
   */
  async commitOnce (room: string, reference: string, user: string, once: string, deadline: number): Promise<Commit> {
    return await this.#persist(deadline, async () => {
      const { reply, replicated } = await this.#whileGone(deadline, async () => {
        const isKnown = (this.#heads.get(room) ?? 0) > 0 ? '1' : '0'
        const args = ['EVALSHA', COMMIT_ONCE.sha, '3', logKey(room), onceKey(room, once), usersKey(room), reference, String(this.#options.onceTtlS), user, isKnown]
        const written = await this.#cluster.write(roomSlot(room), args, deadline)
        // COMMIT_ONCE answers three integers, and 0 first only when the log is gone. When it is no longer waited for, it is not known any more.
        if ((written.reply as readonly number[])[0] !== 0) return written
        this.#isGone(room)
        return undefined
      })
      const [first, isNewHere, logLength] = reply as readonly [number, number, number]
      // After a lost connection the script may have found what its own first run had committed.
      const isOurs = isNewHere === 1 || (await this.#log.range(room, first, first))[0]?.reference === reference
      this.#rememberHead(room, first)
      return { first, logLength, isOurs, replicated }
    })
  }

  /** Resolves when nothing waits to be counted. */
  async settled (): Promise<void> {
    await this.#counting.settled()
  }

  // The connection may break between the commit and its acknowledgement. Then it is committed again: it finds itself or, where a
  // failover has taken it, gets another place.
  async #persist (deadline: number, attempt: (isAgain: boolean) => Promise<Attempt>): Promise<Commit> {
    const { first, logLength, isOurs, replicated } = await attempt(false)
    const persist = async (): Promise<number | undefined> => {
      for (let last = { first, isOurs, replicated }; ;) {
        try {
          await last.replicated
          return last.isOurs ? last.first : undefined
        } catch (error) {
          throwUnlessLost(error, deadline)
          last = await attempt(true)
        }
      }
    }
    return { first, logLength, lasting: persist() }
  }

  async #attempt (room: string, references: readonly string[], counts: ReadonlyMap<string, number>, after: number, isAgain: boolean, deadline: number): Promise<Attempt> {
    const [reference = ''] = references
    const rest = [String(counts.size), ...[...counts].flatMap(([user, count]) => [user, String(count)]), ...references]
    for (let behind = after; ;) {
      // Log and counters in one step. While the room's slot moves they may be on different nodes: then the log goes first, by itself.
      const args = ['EVALSHA', COMMIT.sha, '2', logKey(room), usersKey(room), String(behind), ...rest]
      const logOnly = ['EVALSHA', COMMIT.sha, '1', logKey(room), String(behind), ...rest]
      const { reply, replicated, wasLost } = await this.#whileGone(deadline, async () => {
        const written = await this.#cluster.write(roomSlot(room), args, deadline, logOnly)
        const [first, head] = written.reply as readonly [number, number, number]
        return first === 0 && head === 0 && behind > 0 && this.#isGone(room) ? undefined : written
      })
      // COMMIT answers three integers.
      const [first, lengthOrHead, isCounted] = reply as readonly [number, number, number]
      if (first > 0) {
        if (isCounted === 0) for (const entry of counts) this.#counting.add(room, entry)
        this.#rememberHead(room, first + references.length - 1)
        return { first, logLength: lengthOrHead, isOurs: true, replicated }
      }
      // It could not see all that came behind, and has committed nothing. An attempt before it may have, ere that was sealed: then it is
      // found there. One that arrives only yet cannot see more than this one.
      const found = isAgain || wasLost ? await this.#log.find(room, reference, behind + 1, lengthOrHead) : undefined
      if (found !== undefined) {
        const { replicated } = await this.#cluster.write(roomSlot(room), ['EVALSHA', TOUCH_LOG.sha, '1', logKey(room)], deadline)
        return { first: found, logLength: 0, isOurs: true, replicated }
      }
      behind = lengthOrHead
      if (performance.now() > deadline) throw new DialogsError('STORE_UNAVAILABLE', 'The store does not get to this message: try again with the same Idempotency-Key.')
    }
  }

  // Attempts until the log is there, or the deadline. An attempt that finds the log gone answers undefined.
  async #whileGone<T> (deadline: number, attempt: () => Promise<T | undefined>): Promise<T> {
    for (;;) {
      const result = await attempt()
      if (result !== undefined) return result
      if (performance.now() + GONE_PAUSE_MS > deadline) {
        throw new DialogsError('STORE_UNAVAILABLE', 'The log of the room is gone: its slot is half-moved (npm run cluster -- finish), or it was deleted. Try again with the same Idempotency-Key.')
      }
      await new Promise(resolve => { setTimeout(resolve, GONE_PAUSE_MS) })
    }
  }

  // A log that was there and is gone altogether was most likely not deleted: the owner of its half-moved slot has died, and the replica that took
  // over does not know where the log is until the move goes on (src/cli/cluster). To begin it anew would give its sequences out a second
  // time. So it is waited for; only when it stays away for long is it taken for deleted.
  #isGone (room: string): boolean {
    const now = performance.now()
    const since = this.#goneSince.get(room) ?? now
    this.#goneSince.set(room, since)
    if (now < since + GONE_MS_MAX) return true
    this.#goneSince.delete(room)
    this.#heads.delete(room)
    return false
  }

  // What COMMIT could not count itself. Not waited for: the counters are mended by `npm run check`, a message never is.
  async #count (room: string, group: ReadonlyArray<readonly [user: string, count: number]>): Promise<void> {
    const counts = new Map<string, number>()
    for (const [user, count] of group) counts.set(user, (counts.get(user) ?? 0) + count)
    const args = [...counts].flatMap(([user, count]) => [user, String(count)])
    try {
      await this.#cluster.command(roomSlot(room), ['EVALSHA', COUNT.sha, '1', usersKey(room), ...args])
    } catch (error) {
      this.#options.onFault('count', error)
    }
  }

  #rememberHead (room: string, seq: number): void {
    if (this.#goneSince.size > 0) this.#goneSince.delete(room)
    if (this.#heads.size >= HEADS_REMEMBERED) this.#heads.clear()
    this.#heads.set(room, seq)
  }
}

/** A write whose acknowledgement was lost with its connection can be made sure of by writing again; everything else is an answer. */
export function throwUnlessLost (error: unknown, deadline: number): void {
  if (!(error instanceof ConnectionLost)) throw error
  if (performance.now() >= deadline) throw new DialogsError('STORE_UNAVAILABLE', 'The store does not acknowledge: try again with the same Idempotency-Key.', { cause: error })
}
