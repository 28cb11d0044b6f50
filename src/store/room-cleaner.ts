// Cleans what a deletion has left (deletions.ts, steps 3 and 4): the blocks of the users that were
// set aside, the room's place in their lists, and the segments. Invariant: nothing of the room's
// new life is touched. Its blocks have another generation in their keys, and its segments higher
// numbers. So whole keys are deleted, whoever writes meanwhile, and anybody may clean at any time.
import { setTimeout as sleep } from 'node:timers/promises'
import pLimit from 'p-limit'
import { DialogsError } from '../errors.js'
import { formatTag } from '../message/block-tag.js'
import { blockOf } from '../message/message.js'
import { type Cluster } from '../redis/cluster.js'
import { scanHash } from '../redis/scan-hash.js'
import { slotOf } from '../redis/slots.js'
import { Shared } from '../shared.js'
import { type Dialogs } from './dialogs.js'
import {
  blockKey,
  changedKey,
  goneKey,
  goneUsersKey,
  leftKey,
  leftPartKey,
  PARTS_MARK,
  roomSlot,
  segmentKey,
  USERS_PARTS,
  userCountKey,
  usersKey,
  usersPartKey
} from './keys.js'
import { CLEANED } from './log-scripts.js'
import { LEFT_MAX, type Members } from './members.js'

export type RoomCleanerParts = {
  readonly members: Members
  readonly dialogs: Dialogs
}

export type RoomCleanerOptions = {
  readonly blockLength: number
  readonly segmentLength: number
  readonly deadlineMs: number
}

const PARTS_AT_ONCE = 8
/** Of one part. */
const USERS_AT_ONCE = 16
const SEGMENTS_AT_ONCE = 64
const SCAN_COUNT = 500
/** Before looking again for a key that only the target of a moving slot has. */
export const STRANDED_PAUSE_MS = 50

export class RoomCleaner {
  readonly #cluster: Cluster
  readonly #members: Members
  readonly #dialogs: Dialogs
  readonly #options: RoomCleanerOptions
  readonly #cleanings = new Shared<undefined>()

  constructor(cluster: Cluster, parts: RoomCleanerParts, options: RoomCleanerOptions) {
    this.#cluster = cluster
    this.#members = parts.members
    this.#dialogs = parts.dialogs
    this.#options = options
  }

  /**
   * Cleans what the room's last deletion has left, if anything. A call made during a run waits for
   * another run, because the room may have been deleted once more.
   * @throws DialogsError as Cluster.write
   */
  async clean(room: string): Promise<void> {
    await this.#cleanings.read(room, async () => {
      await this.#clean(room)
      return undefined
    })
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
    // The first keys come last, because they show that there are parts.
    await clean(left)
    await clean(users)
    await forget(goneKey(room))
  }

  // Deletes a key only if it still belongs to this deletion. A slower process may find that this
  // one was finished meanwhile, and that the key holds the users of the next deletion.
  async #forget(room: string, gone: string, key: string): Promise<void> {
    const deadline = performance.now() + this.#options.deadlineMs
    const args = ['EVALSHA', CLEANED.sha, '2', goneKey(room), key, gone]
    await this.#cluster.acknowledged(roomSlot(room), args, deadline)
  }

  /** @returns whether the key had any users */
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

  // A member of the room's new life keeps the room in their list, even if the membership begins
  // while the room is taken out. Their streams are told: they stopped following the room when it
  // was deleted, and a message that finds the room in the list does not announce it.
  async #unlist(room: string, user: string): Promise<void> {
    if (await this.#members.isMemberNow(room, user)) {
      this.#members.tell(user, { joined: room })
      return
    }
    const deadline = performance.now() + this.#options.deadlineMs
    await this.#dialogs.remove(user, room, deadline)
    // Their streams may have read the list while the room was not in it.
    if (await this.#members.isMemberNow(room, user)) {
      await this.#members.addToList(room, user, Date.now(), deadline, true)
    }
  }

  // The user's counter says how many blocks there can be. A failover may have taken numbers back,
  // but not those of two blocks (numbers.ts), so one block more is deleted.
  async #cleanBlocks(room: string, user: string, generation: number): Promise<void> {
    const count = Number(
      await this.#cluster.command(slotOf(userCountKey(user)), ['GET', userCountKey(user)])
    )
    const last = blockOf(Math.max(1, count), this.#options.blockLength) + 1
    for (let block = 0; block <= last; block++) {
      const key = blockKey(room, formatTag({ user, block, generation }))
      await Promise.all([this.#unlink(key), this.#unlink(changedKey(key))])
    }
  }

  // The numbers of the segments that the deleted life can have. The newest entries of a log are
  // always in its tail, so no segment of the new life has one of these numbers.
  async #cleanSegments(room: string, generation: number, upTo: number): Promise<void> {
    const { segmentLength } = this.#options
    const limit = pLimit(SEGMENTS_AT_ONCE)
    const end = Math.floor((upTo - 1) / segmentLength)
    // A life begins with the entry that ended the one before, which may be the last of its segment.
    const first = Math.floor(Math.max(0, generation - 1) / segmentLength)
    for (let from = first; from < end; from += SEGMENTS_AT_ONCE) {
      const some = Array.from(
        { length: Math.min(SEGMENTS_AT_ONCE, end - from) },
        (_, index) => from + index
      )
      await Promise.all(some.map(segment => limit(() => this.#unlink(segmentKey(room, segment)))))
    }
  }

  // Waits for a replica, so that a failover does not bring the key back. The target of a moving
  // slot may have a copy that the owner knows nothing of: for a moment while the key moves, and for
  // good if the mover or the source has died.
  async #unlink(key: string): Promise<void> {
    const deadline = performance.now() + this.#options.deadlineMs
    for (;;) {
      await this.#cluster.acknowledged(slotOf(key), ['UNLINK', key], deadline)
      if (!(await this.#cluster.isStranded(key))) return
      if (performance.now() + STRANDED_PAUSE_MS > deadline) {
        throw new DialogsError(
          'STORE_UNAVAILABLE',
          'Messages of the room are out of reach because the slot of their block is half-moved: run npm run cluster -- finish'
        )
      }
      await sleep(STRANDED_PAUSE_MS)
    }
  }
}

/** The keys with the users of a room: users and left, then in turn the parts of both. */
export function usersKeys(room: string, hasParts: boolean): string[] {
  const keys = [usersKey(room), leftKey(room)]
  const parts = hasParts ? USERS_PARTS : 0
  for (let part = 0; part < parts; part++) {
    keys.push(usersPartKey(room, part), leftPartKey(room, part))
  }
  return keys
}
