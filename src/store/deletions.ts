// Deleting a room. Its numbering goes on afterwards: a cursor, an idempotency key, a read mark or a
// commit from its former life has a sequence that is gone for good, and can never be taken for one
// of the new life. The sequence up to which a room was deleted is its generation; the blocks that
// are written after that have it in their names.
//
//    steps                                    a crash right after it leaves
//    0 list the room as being deleted; WAIT   an entry in that list; the next process that looks
//                                             removes it, after a minute or two
//    1 DELETE_ROOM in the room's slot:        a room that is gone for all readers; its segments and
//      the log keeps one entry, its users     blocks are keys that nobody reads. Another process
//      are set aside; WAIT                    goes on here (unfinished-deletions.ts), as does a
//                                             repetition or `npm run check -- --repair`
//    2 publish to readers and members         the same; readers and members notice when the other
//                                             processes look at all rooms (peers.ts)
//    3 delete each user's blocks, and take    the same
//      the room out of their list; segments
//    4 forget the users that were set aside;  an entry in the list, as after step 0
//      take the room from the list
//
// Invariant: a message that is committed after step 1 is in a block of the new generation, because
// a commit that names another generation is refused (committer.ts). So room-cleaner.ts, which does
// steps 3 and 4, may delete whole keys, whoever writes meanwhile.
import { setTimeout as sleep } from 'node:timers/promises'
import pLimit from 'p-limit'
import { DialogsError } from '../errors.js'
import { untilAcknowledged } from '../redis/acknowledged.js'
import { type Cluster } from '../redis/cluster.js'
import { encodeDeletion } from '../message/publication.js'
import { deletedKey, goneKey, logKey, roomChannel, roomSlot } from './keys.js'
import { type Deletion, type Log } from './log.js'
import { LEFT_MAX, type Members } from './members.js'
import { DELETE_ROOM, type DeleteRoomReply } from './log-scripts.js'
import { type RoomCleaner, STRANDED_PAUSE_MS, usersKeys } from './room-cleaner.js'
import { type Claim, type HeldClaim, UnfinishedDeletions } from './unfinished-deletions.js'

export type DeletedRoom = Deletion & {
  /** Whether no key has anything of the room any more; false if the cleaning still goes on. */
  readonly isClean: boolean
}

export type DeletionsOptions = {
  readonly deadlineMs: number
  /** How long a deletion is left to a process that gives no sign of going on with it. */
  readonly claimMs?: number | undefined
  readonly onFault: (error: unknown) => void
}

/** The default of `claimMs`, in deadlines of a request: much longer than a process stands still. */
const CLAIM_DEADLINES = 6
/** How often abandoned deletions are looked for within `claimMs`. */
const LOOKS = 2
const ADOPTED_AT_ONCE = 4

/** How long a request waits for the cleaning. */
const CLEANING_MS = 5000

export class Deletions {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #members: Members
  readonly #cleaner: RoomCleaner
  readonly #options: DeletionsOptions
  readonly #unfinished: UnfinishedDeletions
  readonly #claimMs: number
  readonly #underWay = new Set<Promise<unknown>>()
  #timer: NodeJS.Timeout | undefined

  constructor(
    cluster: Cluster,
    parts: { readonly log: Log; readonly members: Members; readonly cleaner: RoomCleaner },
    options: DeletionsOptions
  ) {
    this.#cluster = cluster
    this.#log = parts.log
    this.#members = parts.members
    this.#cleaner = parts.cleaner
    this.#options = options
    const { deadlineMs, claimMs = CLAIM_DEADLINES * deadlineMs } = options
    this.#claimMs = claimMs
    this.#unfinished = new UnfinishedDeletions(cluster, { claimMs, deadlineMs })
  }

  /**
   * From now on, looks for deletions whose process has vanished, about twice in `claimMs`, and
   * finishes them.
   */
  start(): void {
    const ms = (this.#claimMs / LOOKS) * (0.5 + Math.random())
    this.#timer = setTimeout(() => {
      const look = this.#look().catch(this.#options.onFault)
      void this.#follow(look).finally(() => {
        if (this.#timer !== undefined) this.start()
      })
    }, ms).unref()
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /**
   * Deletes a room. A repetition finishes what was begun, and answers as the first call did.
   * @throws DialogsError ROOM_NOT_FOUND; otherwise as Cluster.write, and then it is unknown whether
   * the room is deleted: call it again
   */
  async delete(room: string): Promise<DeletedRoom> {
    const held = this.#hold(await this.#unfinished.add(room))
    const deletion = await this.#markHeld(room, held)
    await this.#tell(room, deletion)
    const cleaning = this.#follow(this.#finish(room, held))
    const isClean = await Promise.race([
      cleaning.then(() => true),
      new Promise<false>(resolve => setTimeout(resolve, CLEANING_MS, false).unref())
    ])
    cleaning.catch(this.#options.onFault)
    return { ...deletion, isClean }
  }

  /** Resolves when no room is being cleaned. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#underWay)
  }

  #hold(claim: Claim): HeldClaim {
    return this.#unfinished.hold(claim, this.#options.onFault)
  }

  async #markHeld(room: string, held: HeldClaim): Promise<Deletion> {
    try {
      return await this.#mark(room)
    } catch (error) {
      if (error instanceof DialogsError && error.code === 'ROOM_NOT_FOUND') await held.release()
      else held.drop()
      throw error
    }
  }

  async #finish(room: string, held: HeldClaim): Promise<void> {
    try {
      await this.#cleaner.clean(room)
    } catch (error) {
      held.drop()
      throw error
    }
    await held.release()
  }

  async #follow<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work)
    try {
      return await work
    } finally {
      this.#underWay.delete(work)
    }
  }

  async #look(): Promise<void> {
    const limit = pLimit(ADOPTED_AT_ONCE)
    await Promise.all(
      (await this.#unfinished.overdue()).map(claim =>
        limit(() => this.#adopt(claim).catch(this.#options.onFault))
      )
    )
  }

  // Takes over a deletion. The process that began it may have died before it told anybody, or even
  // before it deleted anything.
  async #adopt(overdue: Claim): Promise<void> {
    const claim = await this.#unfinished.renew(overdue)
    if (claim === undefined) return
    const { room } = claim
    const held = this.#hold(claim)
    try {
      const key = goneKey(room)
      if ((await this.#cluster.command(roomSlot(room), ['EXISTS', key])) === 1) {
        await this.#tell(room, await this.#log.deletion(room))
      }
    } catch (error) {
      held.drop()
      throw error
    }
    await this.#finish(room, held)
  }

  async #mark(room: string): Promise<Deletion> {
    const deadline = performance.now() + this.#options.deadlineMs
    for (let hasParts = false; ;) {
      const [outcome, seq, ms] = await this.#run(room, hasParts, deadline)
      if (outcome === 'deleted') return { seq, ms }
      if (outcome === 'parts') hasParts = true
      else if (outcome === 'unfinished') await this.#cleaner.clean(room)
      else if (!(await this.#cluster.isStranded(logKey(room)))) {
        throw new DialogsError('ROOM_NOT_FOUND', `There is no room ${room}.`)
      } else if (performance.now() + STRANDED_PAUSE_MS > deadline) {
        throw new DialogsError(
          'STORE_UNAVAILABLE',
          'The log of the room is out of reach because its slot is half-moved: run npm run cluster -- finish'
        )
      } else await sleep(STRANDED_PAUSE_MS)
    }
  }

  async #run(room: string, hasParts: boolean, deadline: number): Promise<DeleteRoomReply> {
    const keys = [logKey(room), deletedKey(room), goneKey(room), ...usersKeys(room, hasParts)]
    let reply: DeleteRoomReply = ['no room']
    await untilAcknowledged(async () => {
      const written = await this.#cluster.write(
        roomSlot(room),
        [
          'EVALSHA',
          DELETE_ROOM.sha,
          String(keys.length),
          ...keys,
          String(Date.now()),
          String(LEFT_MAX)
        ],
        deadline
      )
      // DELETE_ROOM answers a DeleteRoomReply.
      reply = written.reply as unknown as DeleteRoomReply
      return written
    }, deadline)
    return reply
  }

  async #tell(room: string, deletion: Deletion): Promise<void> {
    await Promise.all([this.#publish(room, deletion), this.#members.removeAll(room)])
  }

  async #publish(room: string, { seq, ms }: Deletion): Promise<void> {
    try {
      const deadline = performance.now() + this.#options.deadlineMs
      const args = ['SPUBLISH', roomChannel(room), encodeDeletion(seq, ms)]
      await this.#cluster.write(roomSlot(room), args, deadline)
    } catch (error) {
      this.#options.onFault(error)
    }
  }
}
