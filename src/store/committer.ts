// Step 3 of a write: from here on a message exists, and has its sequence. Invariant: a commit that
// is run again, because nobody knows whether it was carried out, finds itself and commits nothing;
// whatever was written, sealed and trimmed in between. And a log is begun only when it is not
// elsewhere: its sequences would be given out a second time. Publishing and answering are the
// appender's.
import { setTimeout as sleep } from 'node:timers/promises'
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { throwUnlessLost } from '../redis/acknowledged.js'
import { logKey, onceKey, roomSlot, usersKey, usersPart, usersPartKey } from './keys.js'
import { type Written } from '../redis/node-pipeline.js'
import {
  COMMIT,
  COMMIT_ONCE,
  type CommitOnceReply,
  type CommitReply,
  COUNT,
  type NoLog,
  TOUCH_KEY
} from './scripts.js'
import { Remembered } from '../remembered.js'
import { Lanes } from './lanes.js'
import { LOG_GONE_MS_MAX, type Log } from './log.js'
import { type Users } from './users.js'

export type Commit = {
  /** The sequence of the group's first message. */
  readonly first: number
  /**
   * Step 4 for the log: the first sequence once a replica has it, mostly the same. Undefined when
   * the group's idempotency key was taken by another message: then it is not in the log. Rejects
   * with DialogsError when nobody acknowledges before the deadline.
   */
  readonly lasting: Promise<number | undefined>
}

type Attempt = {
  readonly first: number
  readonly isOurs: boolean
  readonly replicated: Promise<void>
}

export type CommitterOptions = {
  readonly groupLengthMax: number
  readonly idempotencyTtlS: number
  readonly onFault: (what: 'count', error: unknown) => void
}

const GONE_PAUSE_MS = 100
/** Who finds a log gone again after so long cannot say that it has been gone all the time. */
const GONE_FORGOTTEN_MS = 10 * LOG_GONE_MS_MAX

export class Committer {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #users: Users
  readonly #options: CommitterOptions
  readonly #counting: Lanes<readonly [user: string, count: number]>
  /**
   * Per room, the last sequence known: what COMMIT looks for itself behind. An old one costs time,
   * a wrong one nothing.
   */
  readonly #heads = new Remembered<number>()
  /** Rooms whose log was there and is not: since when, and when that was last found. */
  readonly #gone = new Remembered<{ readonly since: number; readonly seenAt: number }>()

  constructor(cluster: Cluster, log: Log, users: Users, options: CommitterOptions) {
    this.#cluster = cluster
    this.#log = log
    this.#users = users
    this.#options = options
    this.#counting = new Lanes(
      options.groupLengthMax,
      (room, group) => this.#count(room, group),
      (_, error) => {
        options.onFault('count', error)
      }
    )
  }

  /**
   * Commits a group, all or none, with consecutive sequences. `counts` says how many messages of
   * which users they are.
   * @throws DialogsError as Cluster.write; then the group may be committed or not
   */
  async commit(
    room: string,
    references: readonly string[],
    counts: ReadonlyMap<string, number>,
    deadline: number
  ): Promise<Commit> {
    // Known before the first attempt: whatever our own attempts commit lies behind it.
    const after = this.#heads.get(room) ?? 0
    return await this.#persist(deadline, isAgain =>
      this.#attempt(room, references, counts, after, isAgain, deadline)
    )
  }

  /**
   * Commits one message under an idempotency key, unless that has led to another one: check and
   * commit are one atomic step.
   * @throws DialogsError as Cluster.write; then the message may be committed or not
   */
  async commitOnce(
    room: string,
    reference: string,
    user: string,
    once: string,
    deadline: number
  ): Promise<Commit> {
    const isKnown = this.#heads.has(room)
    const keys = [
      logKey(room),
      onceKey(room, once),
      usersKey(room),
      usersPartKey(room, usersPart(user))
    ]
    return await this.#persist(deadline, async () => {
      const { reply, replicated } = await this.#toLog(room, isKnown, deadline, mayBegin => {
        const args = [
          'EVALSHA',
          COMMIT_ONCE.sha,
          '4',
          ...keys,
          reference,
          String(this.#options.idempotencyTtlS),
          user,
          mayBegin
        ]
        return this.#cluster.write(roomSlot(room), args, deadline)
      })
      const [, first, isNewHere, usersLength] = reply as Exclude<CommitOnceReply, NoLog>
      if (usersLength !== undefined) this.#users.noteLength(room, usersLength)
      // After a lost connection the script may have found what its own first run had committed.
      const isOurs =
        isNewHere === 1 || (await this.#log.range(room, first, first))[0]?.reference === reference
      this.#rememberHead(room, first)
      return { first, isOurs, replicated }
    })
  }

  /** Resolves when nothing waits to be counted. */
  async settled(): Promise<void> {
    await this.#counting.settled()
    await this.#users.settled()
  }

  // The connection may break between the commit and its acknowledgement. Then it is committed
  // again: it finds itself or, where a failover has taken it, gets another place.
  async #persist(
    deadline: number,
    attempt: (isAgain: boolean) => Promise<Attempt>
  ): Promise<Commit> {
    const { first, isOurs, replicated } = await attempt(false)
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
    return { first, lasting: persist() }
  }

  async #attempt(
    room: string,
    references: readonly string[],
    counts: ReadonlyMap<string, number>,
    after: number,
    isAgain: boolean,
    deadline: number
  ): Promise<Attempt> {
    const [reference = ''] = references
    const rest = [
      String(counts.size),
      ...[...counts].flatMap(([user, count]) => [user, String(count)]),
      ...references
    ]
    for (let behind = after; ;) {
      // Log and counters in one step. While the room's slot moves they may be on different nodes:
      // then the log goes first, by itself.
      const written = await this.#toLog(room, behind > 0, deadline, mayBegin => {
        const args = [String(behind), mayBegin, ...rest]
        const logOnly = ['EVALSHA', COMMIT.sha, '1', logKey(room), ...args]
        const keys = [logKey(room), ...this.#users.countKeys(room, counts.keys())]
        return this.#cluster.write(
          roomSlot(room),
          ['EVALSHA', COMMIT.sha, String(keys.length), ...keys, ...args],
          deadline,
          logOnly
        )
      })
      const reply = written.reply as Exclude<CommitReply, NoLog>
      if (reply[0] === 'committed') {
        const [, first, isCounted, usersLength] = reply
        if (isCounted === 0) for (const entry of counts) this.#counting.add(room, entry)
        if (usersLength !== undefined) this.#users.noteLength(room, usersLength)
        this.#rememberHead(room, first + references.length - 1)
        return { first, isOurs: true, replicated: written.replicated }
      }
      const [, head] = reply
      // It could not see all that came behind, and has committed nothing. An attempt before it may
      // have, ere that was sealed: then it is found there. One that arrives only yet cannot see
      // more than this one.
      const found =
        isAgain || written.wasLost
          ? await this.#log.find(room, reference, behind + 1, head)
          : undefined
      if (found !== undefined) {
        const { replicated } = await this.#cluster.write(
          roomSlot(room),
          ['EVALSHA', TOUCH_KEY.sha, '1', logKey(room)],
          deadline
        )
        return { first: found, isOurs: true, replicated }
      }
      behind = head
      if (performance.now() > deadline) {
        throw new DialogsError(
          'STORE_UNAVAILABLE',
          'The store does not get to this message: try again with the same Idempotency-Key.'
        )
      }
    }
  }

  // Sends a commit until there is a log for it, so that the reply is never NoLog. It is first sent
  // so that it begins none: a room whose log is there costs nothing more, and a new one a second
  // commit.
  async #toLog(
    room: string,
    isKnown: boolean,
    deadline: number,
    commit: (mayBegin: '0' | '1') => Promise<Written>
  ): Promise<Written> {
    for (;;) {
      const written = await commit('0')
      if (hasLog(written)) return written
      if (await this.#mayBegin(room, isKnown)) return await commit('1')
      if (performance.now() + GONE_PAUSE_MS > deadline) {
        throw new DialogsError(
          'STORE_UNAVAILABLE',
          'The log of the room is gone: its slot is half-moved (npm run cluster -- finish), or it was deleted. Try again with the same Idempotency-Key.'
        )
      }
      await sleep(GONE_PAUSE_MS)
    }
  }

  // A log that has gone ahead to where its slot was moving is waited for. One that was there and is
  // nowhere was most likely not deleted either (both its nodes may have died): only when it stays
  // away for long is it taken for that.
  async #mayBegin(room: string, isKnown: boolean): Promise<boolean> {
    if (await this.#cluster.isStranded(logKey(room))) return false
    if (!isKnown) return true
    if (this.#noteGone(room) < LOG_GONE_MS_MAX) return false
    this.#gone.delete(room)
    this.#heads.delete(room)
    return true
  }

  /** Answers for how many ms the log has been found gone. */
  #noteGone(room: string): number {
    const now = performance.now()
    const known = this.#gone.get(room)
    const since = known === undefined || now - known.seenAt > GONE_FORGOTTEN_MS ? now : known.since
    this.#gone.set(room, { since, seenAt: now })
    return now - since
  }

  // What COMMIT could not count itself. Not waited for: the counters are mended by `npm run check`,
  // a message never is.
  async #count(
    room: string,
    group: ReadonlyArray<readonly [user: string, count: number]>
  ): Promise<void> {
    const counts = new Map<string, number>()
    for (const [user, count] of group) counts.set(user, (counts.get(user) ?? 0) + count)
    const args = [...counts].flatMap(([user, count]) => [user, String(count)])
    await this.#cluster.command(roomSlot(room), [
      'EVALSHA',
      COUNT.sha,
      '1',
      usersKey(room),
      ...args
    ])
  }

  #rememberHead(room: string, seq: number): void {
    if (this.#gone.size > 0) this.#gone.delete(room)
    this.#heads.set(room, seq)
  }
}

// Both scripts answer a list that begins with the outcome.
const hasLog = ({ reply }: Written): boolean =>
  (reply as CommitReply | CommitOnceReply)[0] !== 'no log'
