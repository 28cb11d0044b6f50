// The users of a room, with the number of messages each has written.
//
//    room:{<room>}:users        hash of user → messages; for a small room, all of them
//    room:{<room>}:users:<n>    for a large room, the users whose hash is n
//
// Invariant: a user's count is the sum of both keys, so either may be written at any time. That
// lets a room be split step by step: first it is marked, and from then on writers count in the
// parts; then groups of users move from the first key to the parts, each group in one script.
// Whatever a crash leaves is valid, and the next commit or check continues with it. A room stays
// split. With 512 parts no key exceeds 2 MiB below 2,500,000 users with the longest names
// (computed, not measured).
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { scanHash } from '../redis/scan-hash.js'
import { Remembered } from '../remembered.js'
import { PARTS_MARK, roomSlot, USERS_PARTS, usersKey, usersPart, usersPartKey } from './keys.js'
import { MOVE_USERS } from './user-scripts.js'

export type User = { readonly user: string; readonly messages: number }

export type UsersPage = {
  /** How many users the room has. */
  readonly total: number
  readonly users: User[]
  /** The `after` of the next page; undefined on the last page. */
  readonly next: string | undefined
}

/** A room with more users than this is large. 3,000 of the longest names take 1.1 MB. */
const SMALL_MAX = 3000
const MOVED_AT_ONCE = 500
const SCAN_COUNT = 500
/** Pause after a failed attempt to split a room. */
const AGAIN_MS = 1000
const PARTS_AT_ONCE = 16
/** How old the total of a large room may be. */
const TOTAL_MS = 1000

export class Users {
  readonly #cluster: Cluster
  readonly #onFault: (error: unknown) => void
  /** Rooms known to be split. */
  readonly #split = new Remembered<true>()
  readonly #splitting = new Map<string, Promise<void>>()
  readonly #failedAt = new Remembered<number>()
  readonly #totals = new Remembered<{ readonly readAt: number; readonly total: Promise<number> }>()

  constructor(cluster: Cluster, onFault: (error: unknown) => void) {
    this.#cluster = cluster
    this.#onFault = onFault
  }

  /**
   * The keys in which a commit counts these users: the first key, and in a split room also the part
   * of each user, in the same order.
   */
  countKeys(room: string, users: Iterable<string>): string[] {
    const key = usersKey(room)
    return this.#split.has(room)
      ? [key, ...Array.from(users, user => usersPartKey(room, usersPart(user)))]
      : [key]
  }

  /**
   * Takes the number of fields in the room's first key from a commit's reply (negative if the room
   * is split). Starts or continues splitting the room if necessary, without waiting for it.
   */
  noteLength(room: string, length: number): void {
    if (length > 0 && length <= SMALL_MAX) return
    // A single field is the mark.
    if (length < 0) this.#split.set(room, true)
    if (length >= -1 && length <= 0) return
    if (performance.now() < (this.#failedAt.get(room) ?? -Infinity) + AGAIN_MS) return
    this.split(room).catch(error => {
      this.#failedAt.set(room, performance.now())
      this.#onFault(error)
    })
  }

  /** Resolves when no room is being split. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#splitting.values())
  }

  /**
   * Moves all users of a room from its first key to the parts. Anybody may call it at any time,
   * even twice at once.
   */
  async split(room: string): Promise<void> {
    const running = this.#splitting.get(room)
    if (running !== undefined) return await running
    const splitting = this.#splitAll(room).finally(() => {
      this.#splitting.delete(room)
    })
    this.#splitting.set(room, splitting)
    await splitting
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

  // Reads the first key. A large room that nobody has split yet is split before, because its key is
  // too large to be read at once.
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
        parts.map(async part =>
          (await this.#readPart(room, part, direct)).filter(behind(after, part))
        )
      )
      const found = read.flat()
      users.push(...found)
      part += parts.length
      atOnce = Math.max(
        1,
        Math.min(
          PARTS_AT_ONCE,
          Math.ceil((parts.length * (limit + 1 - users.length)) / Math.max(1, found.length))
        )
      )
    }
    return pageOf(users, 0, limit, await total)
  }

  async #readPart(
    room: string,
    part: number,
    direct: ReadonlyMap<string, number>
  ): Promise<User[]> {
    const counts = countsOf(
      await this.#cluster.read(roomSlot(room), ['HGETALL', usersPartKey(room, part)])
    )
    for (const [user, messages] of direct) {
      if (usersPart(user) === part) counts.set(user, messages + (counts.get(user) ?? 0))
    }
    return usersOf(counts).sort(byName)
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

  async #splitAll(room: string): Promise<void> {
    const slot = roomSlot(room)
    // An empty group only sets the mark.
    await this.#move(room, [])
    this.#split.set(room, true)
    const scan = scanHash(args => this.#cluster.command(slot, args), usersKey(room), SCAN_COUNT)
    for await (const fields of scan) {
      const users = [...fields.keys()].filter(user => user !== PARTS_MARK)
      for (let from = 0; from < users.length; from += MOVED_AT_ONCE) {
        await this.#move(room, users.slice(from, from + MOVED_AT_ONCE))
      }
    }
  }

  async #move(room: string, users: readonly string[]): Promise<void> {
    const keys = [usersKey(room)]
    const places = new Map<string, number>()
    const args = users.flatMap(user => {
      const key = usersPartKey(room, usersPart(user))
      const place = places.get(key) ?? keys.push(key)
      places.set(key, place)
      return [user, String(place)]
    })
    const { replicated } = await this.#cluster.write(roomSlot(room), [
      'EVALSHA',
      MOVE_USERS.sha,
      String(keys.length),
      ...keys,
      ...args
    ])
    await replicated
  }
}

const allParts = Array.from({ length: USERS_PARTS }, (_, part) => part)

const byMessages = (a: User, b: User): number =>
  b.messages - a.messages || (a.user < b.user ? -1 : 1)

const byName = (a: User, b: User): number => (a.user < b.user ? -1 : 1)

/** Which users of a part come after a user, ordered by part and name. */
function behind(after: string | undefined, part: number): (user: User) => boolean {
  if (after === undefined || usersPart(after) < part) return () => true
  return usersPart(after) > part ? () => false : ({ user }) => user > after
}

function pageOf(users: readonly User[], from: number, limit: number, total: number): UsersPage {
  const page = users.slice(from, from + limit)
  return { total, users: page, next: users.length > from + limit ? page.at(-1)?.user : undefined }
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
