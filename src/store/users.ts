// The users of a room, with the number of messages each has written.
//
//    room:{<room>}:users        hash of user → messages; for a small room, all of them
//    room:{<room>}:users:<n>    for a large room, the users whose hash is n
//
// Invariant: a user's count is the sum of both keys (parted.ts). With 512 parts no key exceeds 2
// MiB below 2,500,000 users with the longest names (computed, not measured).
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { Remembered } from '../remembered.js'
import { LoopTurns } from '../loop-turns.js'
import { PARTS_MARK, roomSlot, USERS_PARTS, usersKey, usersPart, usersPartKey } from './keys.js'
import { HASH_LISTING, Parted, SMALL_MAX } from './parted.js'
import { MOVE_USERS } from './user-scripts.js'

export type User = { readonly user: string; readonly messages: number }

export type UsersPage = {
  /** How many users the room has. */
  readonly total: number
  readonly users: User[]
  /** The `after` of the next page; undefined on the last page. */
  readonly next: string | undefined
}

/** Parts read at the same time for one page. */
const PARTS_AT_ONCE = 16
/** Parts with more users are worked on one in each turn of the event loop. */
const LARGE_PART = 500
/** How old the total of a large room may be. */
const TOTAL_MS = 1000

export class Users {
  readonly #cluster: Cluster
  readonly #parted: Parted
  /** Rooms known to be split. */
  readonly #split = new Remembered<true>()
  readonly #turns = new LoopTurns()
  readonly #totals = new Remembered<{ readonly readAt: number; readonly total: Promise<number> }>()

  constructor(cluster: Cluster, onFault: (error: unknown) => void) {
    this.#cluster = cluster
    this.#parted = new Parted(
      cluster,
      {
        slot: roomSlot,
        key: usersKey,
        partKey: usersPartKey,
        partOf: usersPart,
        moveScript: MOVE_USERS,
        ...HASH_LISTING
      },
      onFault
    )
  }

  /**
   * The keys in which a commit counts these users: the first key, and in a split room also the part
   * of each user, in the same order.
   * @param withParts also if the room is not known to be split
   */
  countKeys(room: string, users: Iterable<string>, withParts = false): string[] {
    const key = usersKey(room)
    return withParts || this.#split.has(room)
      ? [key, ...Array.from(users, user => usersPartKey(room, usersPart(user)))]
      : [key]
  }

  /**
   * Takes from a script's reply how many fields the room's first key has (Parted.noteLength).
   * Starts or continues splitting the room if there are too many, without waiting for it.
   */
  noteLength(room: string, length: number): void {
    if (length < 0) this.#split.set(room, true)
    this.#parted.noteLength(room, length)
  }

  /** Resolves when no room is being split. */
  async settled(): Promise<void> {
    await this.#parted.settled()
  }

  /**
   * Moves all users of a room from its first key to the parts. Anybody may call it at any time,
   * even twice at once.
   */
  async split(room: string): Promise<void> {
    await this.#parted.split(room)
    this.#split.set(room, true)
  }

  /** How many messages a user has written; undefined if they are not in the room. */
  async get(room: string, user: string): Promise<number | undefined> {
    const [direct, inPart] = await Promise.all(
      [usersKey(room), usersPartKey(room, usersPart(user))].map(async key => {
        const count = await this.#cluster.command(roomSlot(room), ['HGET', key, user])
        return count === null ? undefined : Number(count)
      })
    )
    return direct === undefined && inPart === undefined ? undefined : (direct ?? 0) + (inPart ?? 0)
  }

  /**
   * A page of users, those after `after`. A small room is ordered by messages (most first), then by
   * name; a large one by part and name, because only that order stays the same while people write.
   * @throws DialogsError INVALID_CURSOR if a small room has no user `after`
   */
  async page(room: string, after: string | undefined, limit: number): Promise<UsersPage> {
    const { isSplit, direct } = await this.#readDirect(room)
    if (isSplit) return await this.#pageOfParts(room, direct, after, limit)
    const users = usersOf(direct).sort(byMessages)
    const at = users.findIndex(({ user }) => user === after)
    if (after !== undefined && at < 0) {
      throw new DialogsError(
        'INVALID_CURSOR',
        `The user ${after} is not in the room: begin again, without the parameter after.`
      )
    }
    return pageOf(users, at + 1, limit, users.length)
  }

  // Reads the first key. If the room is large and nobody has split it yet, splits it first, because
  // such a key is too large to be read at once.
  async #readDirect(room: string): Promise<{ isSplit: boolean; direct: Map<string, number> }> {
    const slot = roomSlot(room)
    if (Number(await this.#cluster.read(slot, ['HLEN', usersKey(room)])) > SMALL_MAX) {
      await this.split(room)
    }
    const direct = countsOf(await this.#cluster.read(slot, ['HGETALL', usersKey(room)]))
    const isSplit = direct.delete(PARTS_MARK)
    if (isSplit) this.#split.set(room, true)
    return { isSplit, direct }
  }

  async #pageOfParts(
    room: string,
    direct: ReadonlyMap<string, number>,
    after: string | undefined,
    limit: number
  ): Promise<UsersPage> {
    const total = this.#recentTotal(room, direct)
    const users: User[] = []
    let part = after === undefined ? 0 : usersPart(after)
    let atOnce = 1
    while (part < USERS_PARTS && users.length <= limit) {
      const parts = Array.from(
        { length: Math.min(atOnce, USERS_PARTS - part) },
        (_, index) => part + index
      )
      const read = await Promise.all(
        parts.map(async part => await this.#readPart(room, part, direct, after))
      )
      const found = read.flat()
      users.push(...found)
      part += parts.length
      // The next part would mostly be read for nothing, and read again for the next page.
      if (users.length >= limit / 2 && found.length / parts.length >= limit / 2) break
      atOnce = Math.max(
        1,
        Math.min(
          PARTS_AT_ONCE,
          Math.ceil((parts.length * (limit + 1 - users.length)) / Math.max(1, found.length))
        )
      )
    }
    return pageOf(users, 0, limit, await total, part === USERS_PARTS)
  }

  /** The users of a part who come after a user, by name. */
  async #readPart(
    room: string,
    part: number,
    direct: ReadonlyMap<string, number>,
    after: string | undefined
  ): Promise<User[]> {
    const reply = await this.#cluster.read(roomSlot(room), ['HGETALL', usersPartKey(room, part)])
    if ((reply as readonly string[]).length > 2 * LARGE_PART) await this.#turns.next()
    const counts = countsOf(reply)
    for (const [user, messages] of direct) {
      if (usersPart(user) === part) counts.set(user, messages + (counts.get(user) ?? 0))
    }
    const isBehind = behind(after, part)
    const names = Array.from(counts.keys()).filter(isBehind).sort()
    return names.map(user => ({ user, messages: counts.get(user) ?? 0 }))
  }

  // Adding up the total takes 512 commands, so pages read shortly after each other share it.
  async #recentTotal(room: string, direct: ReadonlyMap<string, number>): Promise<number> {
    const known = this.#totals.get(room)
    const now = performance.now()
    if (known !== undefined && now - known.readAt < TOTAL_MS) return await known.total
    const total = this.#total(room, direct)
    this.#totals.set(room, { readAt: now, total })
    total.catch(() => {
      this.#totals.delete(room)
    })
    return await total
  }

  // A user who is still in the first key and already in a part counts once.
  async #total(room: string, direct: ReadonlyMap<string, number>): Promise<number> {
    const slot = roomSlot(room)
    const lengths = Promise.all(
      allParts.map(async part =>
        Number(await this.#cluster.read(slot, ['HLEN', usersPartKey(room, part)]))
      )
    )
    const doubled = Promise.all(
      Array.from(direct.keys(), async user =>
        Number(
          await this.#cluster.read(slot, ['HEXISTS', usersPartKey(room, usersPart(user)), user])
        )
      )
    )
    return sum(await lengths) + direct.size - sum(await doubled)
  }
}

const allParts = Array.from({ length: USERS_PARTS }, (_, part) => part)

const byMessages = (a: User, b: User): number =>
  b.messages - a.messages || (a.user < b.user ? -1 : 1)

/** Which users of a part come after a user, ordered by part and name. */
function behind(after: string | undefined, part: number): (user: string) => boolean {
  if (after === undefined || usersPart(after) < part) return () => true
  return usersPart(after) > part ? () => false : user => user > after
}

function pageOf(
  users: readonly User[],
  from: number,
  limit: number,
  total: number,
  isLast = true
): UsersPage {
  const page = users.slice(from, from + limit)
  const hasMore = users.length > from + limit || !isLast
  return { total, users: page, next: hasMore ? page.at(-1)?.user : undefined }
}

/** HGETALL returns field, value, field, value … as strings. */
function countsOf(reply: unknown): Map<string, number> {
  const flat = reply as readonly string[]
  const counts = new Map<string, number>()
  for (let index = 0; index < flat.length; index += 2) {
    counts.set(flat[index] ?? '', Number(flat[index + 1]))
  }
  return counts
}

const usersOf = (counts: ReadonlyMap<string, number>): User[] =>
  Array.from(counts, ([user, messages]) => ({ user, messages }))

const sum = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0)
