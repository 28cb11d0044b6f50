// Deleting a room. Its numbering goes on afterwards: whatever still knows of its former life (a
// cursor, an idempotency key, a read mark, a commit on its way) has a sequence that is gone for
// good, and can never be taken for something of the new one. The sequence up to which a room was
// deleted is its generation, and part of the names of the blocks that are written after it.
//
//    steps                                    a crash right after it leaves
//    0 list the room as being deleted; WAIT   an entry that is taken away in a minute or two
//    1 DELETE_ROOM in the room's slot:        a room that is gone for all readers; its segments and
//      the log keeps one entry, its users     blocks are keys that nobody reads. Another process
//      are set aside; WAIT                    goes on here (unfinished-deletions.ts), as does a
//                                             repetition or `npm run check -- --repair`
//    2 publish to readers and members         the same; readers notice when they next look at the
//                                             log, members when their list is next looked at
//    3 delete each user's blocks, and take    the same
//      the room out of their list; segments
//    4 forget the users that were set aside   an entry as after step 0
//      and take the room from the list
//
// Invariant: a message that is committed after step 1 is in a block of the new generation, because
// a commit that names another one is refused (committer.ts). So step 3 deletes whole keys, whoever
// writes meanwhile.
import pLimit from 'p-limit'
import { DialogsError } from '../errors.js'
import { untilAcknowledged } from '../redis/acknowledged.js'
import { type Cluster } from '../redis/cluster.js'
import { scanHash } from '../redis/scan-hash.js'
import { Shared } from '../shared.js'
import { slotOf } from '../redis/slots.js'
import { encodeDeletion } from '../message/publication.js'
import { blockOf } from '../message/message.js'
import { type Dialogs } from './dialogs.js'
import {
  blockKey,
  changedKey,
  deletedKey,
  goneKey,
  goneUsersKey,
  leftKey,
  leftPartKey,
  logKey,
  PARTS_MARK,
  roomChannel,
  roomSlot,
  segmentKey,
  USERS_PARTS,
  userCountKey,
  usersKey,
  usersPartKey
} from './keys.js'
import { formatTag } from '../message/block-tag.js'
import { type Deletion, type Log } from './log.js'
import { LEFT_MAX, type Members } from './members.js'
import { CLEANED, DELETE_ROOM, type DeleteRoomReply } from './log-scripts.js'
import { type Claim, type HeldClaim, UnfinishedDeletions } from './unfinished-deletions.js'

export type DeletedRoom = Deletion & {
  /** Nothing of the room is in any key; false if it takes longer, and goes on. */
  readonly isClean: boolean
}

export type DeletionsOptions = {
  readonly blockLength: number
  readonly deadlineMs: number
  /** How long a deletion whose process has vanished is left alone. */
  readonly claimMs?: number | undefined
  readonly onFault: (error: unknown) => void
}

/** So many deadlines of a request: much longer than a process stands still for. */
const CLAIM_DEADLINES = 6
/** How often an abandoned deletion is looked for, in the time after which one counts as such. */
const LOOKS = 2
const ADOPTED_AT_ONCE = 4

const PARTS_AT_ONCE = 8
/** Of one part. */
const USERS_AT_ONCE = 16
const SEGMENTS_AT_ONCE = 64
const SCAN_COUNT = 500
/** How long a request waits for the cleaning. */
const CLEANING_MS = 5000

export class Deletions {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #members: Members
  readonly #dialogs: Dialogs
  readonly #options: DeletionsOptions
  readonly #unfinished: UnfinishedDeletions
  readonly #claimMs: number
  /** A call during a run waits for another run: the room may have been deleted once more. */
  readonly #cleanings = new Shared<undefined>()
  readonly #underWay = new Set<Promise<unknown>>()
  #timer: NodeJS.Timeout | undefined

  constructor(
    cluster: Cluster,
    parts: { readonly log: Log; readonly members: Members; readonly dialogs: Dialogs },
    options: DeletionsOptions
  ) {
    this.#cluster = cluster
    this.#log = parts.log
    this.#members = parts.members
    this.#dialogs = parts.dialogs
    this.#options = options
    const { deadlineMs, claimMs = CLAIM_DEADLINES * deadlineMs } = options
    this.#claimMs = claimMs
    this.#unfinished = new UnfinishedDeletions(cluster, { claimMs, deadlineMs })
  }

  /** From now on, finishes deletions whose process has vanished: some within each minute. */
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
   * Deletes a room. Repeated, it finishes what was begun, and answers as it did before.
   * @throws DialogsError ROOM_NOT_FOUND; otherwise as Cluster.write: then it may be deleted, and
   * is to be deleted once more
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

  /**
   * Finishes a deletion: steps 3 and 4. Anybody may call it at any time.
   * @throws DialogsError as Cluster.write
   */
  async clean(room: string): Promise<void> {
    await this.#cleanings.read(room, async () => {
      await this.#clean(room)
      return undefined
    })
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
      await this.clean(room)
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

  // Its process may have died before it told anybody, or before it deleted anything.
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
      else if (outcome === 'unfinished') await this.clean(room)
      else if (await this.#cluster.isStranded(logKey(room))) {
        throw new DialogsError(
          'STORE_UNAVAILABLE',
          'The log of the room is out of reach because its slot is half-moved: run npm run cluster -- finish'
        )
      } else throw new DialogsError('ROOM_NOT_FOUND', `There is no room ${room}.`)
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

  async #clean(room: string): Promise<void> {
    const text = await this.#cluster.command(roomSlot(room), ['GET', goneKey(room)])
    if (text === null) return
    // As DELETE_ROOM writes it.
    const [generation = 0, upTo = 0] = String(text).split(' ').map(Number)
    const [users = '', left = '', ...parts] = usersKeys(room, true).map(goneUsersKey)
    const isSplit = await this.#cluster.command(roomSlot(room), ['HEXISTS', users, PARTS_MARK])
    const leftCount = await this.#cluster.command(roomSlot(room), ['HLEN', left])
    const hasParts = isSplit === 1 || Number(leftCount) >= LEFT_MAX
    await this.#cleanSegments(room, generation, upTo)
    const forget = (key: string): Promise<void> => this.#forget(room, String(text), key)
    const clean = async (key: string): Promise<void> => {
      if (await this.#cleanUsers(room, key, generation)) await forget(key)
    }
    const limit = pLimit(PARTS_AT_ONCE)
    await Promise.all((hasParts ? parts : []).map(key => limit(clean, key)))
    // The first keys come last: they tell that there are parts.
    await clean(left)
    await clean(users)
    await forget(goneKey(room))
  }

  // Of this deletion, or of none: a slower process may find the users of another one here.
  async #forget(room: string, gone: string, key: string): Promise<void> {
    const deadline = performance.now() + this.#options.deadlineMs
    const args = ['EVALSHA', CLEANED.sha, '2', goneKey(room), key, gone]
    await untilAcknowledged(() => this.#cluster.write(roomSlot(room), args, deadline), deadline)
  }

  /** @returns whether there were any */
  async #cleanUsers(room: string, key: string, generation: number): Promise<boolean> {
    let hasAny = false
    const limit = pLimit(USERS_AT_ONCE)
    const scan = scanHash(args => this.#cluster.command(roomSlot(room), args), key, SCAN_COUNT)
    for await (const fields of scan) {
      hasAny ||= fields.size > 0
      const users = [...fields.keys()].filter(user => user !== PARTS_MARK)
      await Promise.all(
        users.map(user =>
          limit(async () => {
            await this.#unlist(room, user)
            await this.#cleanBlocks(room, user, generation)
          })
        )
      )
    }
    return hasAny
  }

  // Who is a member of the room's new life keeps it in their list, also if that began meanwhile.
  async #unlist(room: string, user: string): Promise<void> {
    if (await this.#members.isMemberNow(room, user)) return
    const deadline = performance.now() + this.#options.deadlineMs
    await this.#dialogs.remove(user, room, deadline)
    // Their streams may have read the list in between.
    if (await this.#members.isMemberNow(room, user)) {
      await this.#members.list(room, user, Date.now(), deadline, true)
    }
  }

  // The counter says how many blocks a user can have. A failover may have taken the newest numbers
  // back, which is less than a block.
  async #cleanBlocks(room: string, user: string, generation: number): Promise<void> {
    const count = Number(
      await this.#cluster.command(slotOf(userCountKey(user)), ['GET', userCountKey(user)])
    )
    const last = count < 1 ? 0 : blockOf(count, this.#options.blockLength) + 1
    for (let block = 0; block <= last; block++) {
      const key = blockKey(room, formatTag({ user, block, generation }))
      await Promise.all([this.#unlink(key), this.#unlink(changedKey(key))])
    }
  }

  // The tail always holds the newest segment, so none of the new life has one of these numbers.
  async #cleanSegments(room: string, generation: number, upTo: number): Promise<void> {
    const { segmentLength } = this.#log
    const limit = pLimit(SEGMENTS_AT_ONCE)
    const end = Math.floor((upTo - 1) / segmentLength)
    const first = Math.floor(generation / segmentLength)
    for (let from = first; from < end; from += SEGMENTS_AT_ONCE) {
      const some = Array.from(
        { length: Math.min(SEGMENTS_AT_ONCE, end - from) },
        (_, index) => from + index
      )
      await Promise.all(some.map(segment => limit(() => this.#unlink(segmentKey(room, segment)))))
    }
  }

  // A failover must not bring it back.
  async #unlink(key: string): Promise<void> {
    const deadline = performance.now() + this.#options.deadlineMs
    await untilAcknowledged(
      () => this.#cluster.write(slotOf(key), ['UNLINK', key], deadline),
      deadline
    )
  }
}

function usersKeys(room: string, hasParts: boolean): string[] {
  const keys = [usersKey(room), leftKey(room)]
  const parts = hasParts ? USERS_PARTS : 0
  for (let part = 0; part < parts; part++) {
    keys.push(usersPartKey(room, part), leftPartKey(room, part))
  }
  return keys
}
