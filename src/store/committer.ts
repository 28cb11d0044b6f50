// Step 3 of a write, the commit: it gives a message its sequence, and from then on the message
// exists. Invariant: if the outcome of a commit is unknown, the commit runs again. The second run
// finds what the first one committed, and adds nothing, whatever was written, sealed or trimmed in
// between. Whether a commit may start a log is decided in log-start.ts.
import { DialogsError } from '../errors.js'
import { formatDeletion, parseReference, timeOf } from '../message/message.js'
import { Repetitions } from '../redis/acknowledged.js'
import { type Cluster } from '../redis/cluster.js'
import { Counting } from './counting.js'
import { type Head, Heads } from './heads.js'
import { deletedKey, logKey, onceKey, roomSlot, usersKey, usersPart, usersPartKey } from './keys.js'
import { CLOCKS_APART_MS_MAX, type Deletion, type Log } from './log.js'
import {
  COMMIT,
  COMMIT_ONCE,
  type CommitOnceReply,
  type CommitReply,
  type NoLog,
  type NotMembers as NotMembersReply
} from './log-scripts.js'
import { LogStart } from './log-start.js'
import { NotMembers } from './members.js'
import { TOUCH_KEY } from './scripts.js'
import { type Users } from './users.js'

export type Commit = {
  /** The sequence of the group's first message. */
  readonly first: number
  /**
   * Step 4 for the log. Resolves to the first sequence once a replica has it; that may differ from
   * `first` if a failover took the first commit back. Resolves to undefined if the idempotency key
   * belongs to another message, so that this one is not in the log. Rejects with a DialogsError if
   * no replica acknowledges before the deadline.
   */
  readonly durable: Promise<number | undefined>
}

/**
 * Nothing was committed: the room was deleted after its block was chosen, or this process did not
 * know of an earlier deletion. The text has to go into a block of the new generation. If there is
 * no time left for that, this is the answer.
 */
export class OtherGeneration extends DialogsError {
  constructor() {
    super(
      'STORE_UNAVAILABLE',
      'The room was deleted while this message was written, and there was no time to write it once more: try again with the same Idempotency-Key.'
    )
  }
}

type Attempt = {
  readonly first: number
  readonly isOurs: boolean
  readonly replicated: Promise<void>
}

/**
 * Whatever the attempts of a commit have added to the log comes after this sequence, which has this
 * reference. All attempts share both, because a failover that takes the log back lowers them. An
 * attempt that kept the old, higher value would not find what an earlier attempt has added below
 * that. If it arrives late, it is refused: the log has another reference there now.
 */
type SearchStart = { after: number; reference: string }

export type Group = {
  readonly references: readonly string[]
  /** How many of the messages each user has written. */
  readonly counts: ReadonlyMap<string, number>
  /** Those of the users who may write only as members. */
  readonly membersOnly?: ReadonlySet<string>
  /** The generation that all references belong to. */
  readonly generation: number
}

const NOBODY: ReadonlySet<string> = new Set()

export type CommitterOptions = {
  readonly groupLengthMax: number
  readonly idempotencyTtlS: number
  readonly onFault: (what: 'count', error: unknown) => void
  /** A replica has the entry at this sequence, of this ms, and all before. */
  readonly onAcknowledged?: (room: string, seq: number, ms: number) => void
}

export class Committer {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #users: Users
  readonly #options: CommitterOptions
  readonly #counting: Counting
  readonly #heads = new Heads()
  readonly #start: LogStart

  constructor(cluster: Cluster, log: Log, users: Users, options: CommitterOptions) {
    this.#cluster = cluster
    this.#log = log
    this.#users = users
    this.#options = options
    this.#start = new LogStart(cluster, this.#heads)
    this.#counting = new Counting(cluster, options.groupLengthMax, error => {
      options.onFault('count', error)
    })
  }

  /** The generation that new messages of a room belong to, as far as this process knows. */
  generationOf(room: string): number {
    return this.#heads.generationOf(room)
  }

  /**
   * Commits a group with consecutive sequences, all of it or nothing.
   * @throws OtherGeneration or NotMembers if nothing was committed. DialogsError ROOM_DELETED if
   * the group was perhaps committed and then deleted with the room; otherwise as Cluster.write, and
   * then the group may have been committed
   */
  async commit(room: string, group: Group, deadline: number): Promise<Commit> {
    const { generation } = group
    // Read before the first attempt, so that whatever our own attempts commit comes after it.
    let known = this.#heads.get(room)
    if (known !== undefined && known.generation !== generation) {
      const deletion = await this.#log.deletion(room)
      this.#noteGeneration(room, deletion)
      if (deletion.seq !== generation) throw new OtherGeneration()
      known = this.#heads.get(room)
    }
    const searchStart = { after: known?.seq ?? 0, reference: known?.reference ?? '' }
    return await this.#untilDurable(room, group.references, deadline, isAgain =>
      this.#attempt(room, group, { searchStart, isAgain, deadline })
    )
  }

  /**
   * Commits one message under an idempotency key, unless the key belongs to another message. The
   * check and the commit are one atomic step.
   * @param user whose message is counted; empty for a change, which is counted for nobody
   * @throws as `commit`
   */
  async commitOnce(
    room: string,
    {
      reference,
      user,
      asMember = false,
      once,
      generation
    }: {
      readonly reference: string
      readonly user: string
      /** The user may write only as a member. */
      readonly asMember?: boolean | undefined
      readonly once: string
      readonly generation: number
    },
    deadline: number
  ): Promise<Commit> {
    const isKnown = this.#heads.get(room) !== undefined
    const keys = [
      logKey(room),
      onceKey(room, once),
      usersKey(room),
      usersPartKey(room, usersPart(user)),
      deletedKey(room)
    ]
    return await this.#untilDurable(room, [reference], deadline, async isAgain => {
      const { reply, replicated, wasLost } = await this.#start.commit(
        room,
        isKnown,
        deadline,
        mayStart => {
          const args = [
            'EVALSHA',
            COMMIT_ONCE.sha,
            '5',
            ...keys,
            reference,
            String(this.#options.idempotencyTtlS),
            user,
            mayStart,
            String(generation),
            asMember ? '1' : '0'
          ]
          return this.#cluster.write(roomSlot(room), args, deadline)
        }
      )
      const answer = reply as Exclude<CommitOnceReply, NoLog>
      if (answer[0] === 'other generation') {
        throw this.#noteDeletion(
          room,
          await this.#log.deletion(room),
          reference,
          isAgain || wasLost
        )
      }
      if (answer[0] === 'not members') throw new NotMembers([user], isAgain || wasLost)
      const [, first, isNewHere, usersLength] = answer
      if (usersLength !== undefined) this.#users.noteLength(room, usersLength)
      // If a connection was lost, the key may be known because an earlier run of this very commit
      // has set it.
      const isOurs =
        isNewHere === 1 || (await this.#log.range(room, first, first))[0]?.reference === reference
      // If the key belongs to another message, that may be of an earlier generation. Only our own
      // message shows where the head of this generation is.
      if (isOurs) this.#rememberHead(room, { seq: first, reference, generation })
      return { first, isOurs, replicated }
    })
  }

  /** Resolves when no counter update is waiting. */
  async settled(): Promise<void> {
    await this.#counting.settled()
    await this.#users.settled()
  }

  // Returns after the first commit, and waits for the acknowledgement in `durable`. If the
  // connection breaks before the acknowledgement, the commit runs again: it finds itself, or gets a
  // new sequence if a failover has taken the first one back.
  async #untilDurable(
    room: string,
    references: readonly string[],
    deadline: number,
    attempt: (isAgain: boolean) => Promise<Attempt>
  ): Promise<Commit> {
    const { first, isOurs, replicated } = await attempt(false)
    const untilDurable = async (): Promise<number | undefined> => {
      const repetitions = new Repetitions(deadline)
      for (let last = { first, isOurs, replicated }; ;) {
        try {
          await last.replicated
          if (!last.isOurs) return undefined
          const seq = last.first + references.length - 1
          this.#options.onAcknowledged?.(room, seq, timeOf(references.at(-1)))
          return last.first
        } catch (error) {
          await repetitions.after(error)
          last = await attempt(true)
        }
      }
    }
    return { first, durable: untilDurable() }
  }

  async #attempt(
    room: string,
    { references, counts, membersOnly = NOBODY, generation }: Group,
    {
      searchStart,
      isAgain,
      deadline
    }: {
      readonly searchStart: SearchStart
      readonly isAgain: boolean
      readonly deadline: number
    }
  ): Promise<Attempt> {
    const [reference = ''] = references
    const users =
      membersOnly.size === 0
        ? [...counts]
        : [...counts].sort(([a], [b]) => Number(membersOnly.has(b)) - Number(membersOnly.has(a)))
    const names = users.map(([user]) => user)
    const counted = this.#users.countKeys(room, names, membersOnly.size > 0)
    for (;;) {
      const { after, reference: afterReference } = searchStart
      // The log and the counters are updated in one step. While the room's slot is half-moved, they
      // may be on different nodes. Then the log is updated alone, and the counters follow. If
      // somebody must be a member, it waits instead, because the counters say who is one.
      const written = await this.#start.commit(room, after > 0, deadline, mayStart => {
        const commandFor = (keys: readonly string[]): string[] => {
          const args = ['EVALSHA', COMMIT.sha, String(keys.length), ...keys]
          args.push(String(after), afterReference, mayStart)
          args.push(String(users.length), String(membersOnly.size))
          for (const [user, count] of users) args.push(user, String(count))
          args.push(...references)
          return args
        }
        return this.#cluster.write(
          roomSlot(room),
          commandFor([logKey(room), ...counted]),
          deadline,
          membersOnly.size === 0 ? () => commandFor([logKey(room)]) : undefined
        )
      })
      const reply = written.reply as Exclude<CommitReply, NoLog>
      if (isNotMembers(reply)) {
        const [, ...strangers] = reply
        throw new NotMembers(strangers, isAgain || written.wasLost)
      }
      if (reply[0] === 'committed') {
        const [, first, isCounted, usersLength] = reply
        if (isCounted === 0) this.#counting.add(room, counts)
        if (usersLength !== undefined) this.#users.noteLength(room, usersLength)
        const seq = first + references.length - 1
        this.#rememberHead(room, { seq, reference: references.at(-1) ?? '', generation })
        return { first, isOurs: true, replicated: written.replicated }
      }
      const [, head, headReference = ''] = reply
      const deletion = await this.#log.deletion(room)
      if (deletion.seq !== generation) {
        throw this.#noteDeletion(room, deletion, reference, isAgain || written.wasLost)
      }
      // COMMIT could not see everything after `after`, so it has committed nothing. But an earlier
      // attempt may have committed the group, and its entries may be in a segment since: look for
      // them there. An attempt that is still on its way commits nothing either: what this one did
      // not find at `after` does not come back.
      const found =
        isAgain || written.wasLost
          ? await this.#log.find(room, reference, after + 1, head)
          : undefined
      if (found !== undefined) {
        const { replicated } = await this.#cluster.write(
          roomSlot(room),
          ['EVALSHA', TOUCH_KEY.sha, '1', logKey(room)],
          deadline
        )
        return { first: found, isOurs: true, replicated }
      }
      searchStart.after = head
      searchStart.reference = headReference
      if (performance.now() > deadline) {
        throw new DialogsError(
          'STORE_UNAVAILABLE',
          'The store could not place this message in its room in time: try again with the same Idempotency-Key.'
        )
      }
    }
  }

  #rememberHead(room: string, head: Head): void {
    this.#start.found(room)
    this.#heads.note(room, head)
  }

  #noteGeneration(room: string, { seq, ms }: Deletion): void {
    this.#start.found(room)
    const reference = seq === 0 ? '' : formatDeletion(ms)
    this.#heads.replace(room, { seq, reference, generation: seq })
  }

  // From now on new messages belong to the generation of this deletion. Returns what to throw. If
  // an attempt got no answer, it may have committed the message before the room was deleted. Then
  // the message is deleted too, and must not come back as a new one.
  #noteDeletion(
    room: string,
    deletion: Deletion,
    reference: string,
    mayBeCommitted: boolean
  ): Error {
    this.#noteGeneration(room, deletion)
    return mayBeCommitted && deletion.ms > parseReference(reference).ms - CLOCKS_APART_MS_MAX
      ? new DialogsError(
          'ROOM_DELETED',
          'The room was deleted while this message was written, so it is not stored. Send it with a new key to start the room anew.'
        )
      : new OtherGeneration()
  }
}

const isNotMembers = (reply: Exclude<CommitReply, NoLog>): reply is NotMembersReply =>
  reply[0] === 'not members'
