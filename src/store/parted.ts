// One key while it is small, many parts when it is large: the users of a room, the rooms of a user,
// and a user's read marks. Each is a hash or a sorted set of members. Invariant: the first key and
// the part of a member may both be written at any time; whoever reads takes both together (counts
// are added up, of times and marks the larger one counts). That lets a key be split step by step:
// first it is marked, and from then on writes go to the parts; then groups of members move over,
// each group in one script. Whatever a crash leaves is valid, and the next write continues with it.
// What is split stays split.
import { type Cluster } from '../redis/cluster.js'
import { type Script } from '../redis/script.js'
import { Remembered } from '../remembered.js'
import { PARTS_MARK } from './keys.js'

/** More members than this are split. 3,000 of the longest names take 1.1 MB. */
export const SMALL_MAX = 3000
const MOVED_AT_ONCE = 500
/** Pause after a failed attempt to split. */
const AGAIN_MS = 1000

/** `owner` is the room or user whose key it is. */
export type PartedOptions = {
  /** The slot of all keys of an owner. */
  readonly slot: (owner: string) => number
  readonly key: (owner: string) => string
  readonly partKey: (owner: string, part: number) => string
  /** The part that a member belongs to. */
  readonly partOf: (member: string) => number
  /** Marks the first key, and moves members to their parts: MOVE_USERS and the like. */
  readonly moveScript: Script
  /** The command that lists some members of a key, from a cursor on; the first cursor is '0'. */
  readonly list: (key: string, cursor: string, count: number) => string[]
  /** Parses its reply: the next cursor ('0' at the end), and members, including the mark. */
  readonly listed: (reply: unknown) => readonly [next: string, members: readonly string[]]
}

/** How the members of a hash are listed. */
export const HASH_LISTING: Pick<PartedOptions, 'list' | 'listed'> = {
  list: (key, cursor, count) => ['HSCAN', key, cursor, 'COUNT', String(count)],
  listed: reply => {
    // HSCAN returns the next cursor, and field, value, field, value …
    const [next, flat] = reply as readonly [string, readonly string[]]
    return [next, flat.filter((_, index) => index % 2 === 0)]
  }
}

export class Parted {
  readonly #cluster: Cluster
  readonly #options: PartedOptions
  readonly #onFault: (error: unknown) => void
  readonly #splitting = new Map<string, Promise<void>>()
  readonly #failedAt = new Remembered<number>()

  constructor(cluster: Cluster, options: PartedOptions, onFault: (error: unknown) => void) {
    this.#cluster = cluster
    this.#options = options
    this.#onFault = onFault
  }

  key(owner: string): string {
    return this.#options.key(owner)
  }

  partKey(owner: string, part: number): string {
    return this.#options.partKey(owner, part)
  }

  /** The first key, and the part of a member. */
  keysOf(owner: string, member: string): [first: string, part: string] {
    return [this.key(owner), this.partKey(owner, this.#options.partOf(member))]
  }

  /**
   * Takes from a script's reply how many members the first key has, including the mark; the number
   * is negative if the key is split. Starts or continues splitting if there are too many, without
   * waiting for it.
   */
  noteLength(owner: string, length: number): void {
    // A split key with a single member has only the mark.
    if (length >= -1 && length <= SMALL_MAX) return
    if (performance.now() < (this.#failedAt.get(owner) ?? -Infinity) + AGAIN_MS) return
    this.split(owner).catch(error => {
      this.#failedAt.set(owner, performance.now())
      this.#onFault(error)
    })
  }

  /** Resolves when nothing is being split. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#splitting.values())
  }

  /**
   * Moves all members from the first key to the parts. Anybody may call it at any time, even twice
   * at once.
   */
  async split(owner: string): Promise<void> {
    const running = this.#splitting.get(owner)
    if (running !== undefined) return await running
    const splitting = this.#splitAll(owner).finally(() => {
      this.#splitting.delete(owner)
    })
    this.#splitting.set(owner, splitting)
    await splitting
  }

  // Once the first key has the mark, nobody adds to it except a writer that is already under way.
  // What that writer adds is moved by the next split.
  async #splitAll(owner: string): Promise<void> {
    const { slot, list, listed } = this.#options
    // Without members it only sets the mark.
    await this.#move(owner, [])
    let cursor = '0'
    do {
      const [next, all] = listed(
        await this.#cluster.command(slot(owner), list(this.key(owner), cursor, MOVED_AT_ONCE))
      )
      const members = all.filter(member => member !== PARTS_MARK)
      for (let from = 0; from < members.length; from += MOVED_AT_ONCE) {
        await this.#move(owner, members.slice(from, from + MOVED_AT_ONCE))
      }
      cursor = next
    } while (cursor !== '0')
  }

  async #move(owner: string, members: readonly string[]): Promise<void> {
    const { slot, partOf, moveScript } = this.#options
    const keys = [this.key(owner)]
    const places = new Map<string, number>()
    const args = members.flatMap(member => {
      const key = this.partKey(owner, partOf(member))
      const place = places.get(key) ?? keys.push(key)
      places.set(key, place)
      return [member, String(place)]
    })
    const { replicated } = await this.#cluster.write(slot(owner), [
      'EVALSHA',
      moveScript.sha,
      String(keys.length),
      ...keys,
      ...args
    ])
    await replicated
  }
}
