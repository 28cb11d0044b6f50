// What is kept per user and room (the user's rooms, and the read marks): in one key while it is
// small, in 64 parts when it is large. Invariant: the larger value of the first key and the part
// counts, so either may be written at any time. That lets it be split step by step: first it is
// marked, and from then on writes go to the parts; then groups of rooms move over, each group in
// one script. Whatever a crash leaves is valid, and the next write continues with it.
import { type Cluster } from '../redis/cluster.js'
import { type Script } from '../redis/script.js'
import { Remembered } from '../remembered.js'
import { dialogsPart, PARTS_MARK, userSlot } from './keys.js'

/** More rooms than this are split. 3,000 of the longest names take 1.1 MB. */
export const SMALL_MAX = 3000
const MOVED_AT_ONCE = 500
/** Pause after a failed attempt to split. */
const AGAIN_MS = 1000

export type PartedOptions = {
  readonly key: (user: string) => string
  readonly partKey: (user: string, part: number) => string
  /** MOVE_DIALOGS or MOVE_MARKS. */
  readonly moveScript: Script
  /** The command that lists some rooms of a key, starting at a cursor; the first cursor is '0'. */
  readonly list: (key: string, cursor: string, count: number) => string[]
  /** Its reply: the next cursor ('0' at the end), and rooms, including the mark. */
  readonly listed: (reply: unknown) => readonly [next: string, rooms: readonly string[]]
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

  key(user: string): string {
    return this.#options.key(user)
  }

  partKey(user: string, part: number): string {
    return this.#options.partKey(user, part)
  }

  /** The first key, and the part of a room. */
  keysOf(user: string, room: string): [first: string, part: string] {
    return [this.key(user), this.partKey(user, dialogsPart(room))]
  }

  /**
   * Takes the number of rooms in the first key from a script's reply, including the mark; negative
   * if they are split. Starts or continues splitting, without waiting for it.
   */
  noteLength(user: string, length: number): void {
    if (length >= -1 && length <= SMALL_MAX) return
    if (performance.now() < (this.#failedAt.get(user) ?? -Infinity) + AGAIN_MS) return
    this.split(user).catch(error => {
      this.#failedAt.set(user, performance.now())
      this.#onFault(error)
    })
  }

  /** Resolves when nothing is being split. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#splitting.values())
  }

  /** Anybody may call it at any time, even twice at once. */
  async split(user: string): Promise<void> {
    const running = this.#splitting.get(user)
    if (running !== undefined) return await running
    const splitting = this.#splitAll(user).finally(() => {
      this.#splitting.delete(user)
    })
    this.#splitting.set(user, splitting)
    await splitting
  }

  // Nobody adds to the first key once it has the mark, except a writer already under way. What it
  // adds is found by the next one.
  async #splitAll(user: string): Promise<void> {
    const { list, listed } = this.#options
    await this.#move(user, [])
    let cursor = '0'
    do {
      const [next, all] = listed(
        await this.#cluster.command(userSlot(user), list(this.key(user), cursor, MOVED_AT_ONCE))
      )
      const rooms = all.filter(room => room !== PARTS_MARK)
      for (let from = 0; from < rooms.length; from += MOVED_AT_ONCE) {
        await this.#move(user, rooms.slice(from, from + MOVED_AT_ONCE))
      }
      cursor = next
    } while (cursor !== '0')
  }

  async #move(user: string, rooms: readonly string[]): Promise<void> {
    const keys = [this.key(user)]
    const places = new Map<string, number>()
    const args = rooms.flatMap(room => {
      const key = this.partKey(user, dialogsPart(room))
      const place = places.get(key) ?? keys.push(key)
      places.set(key, place)
      return [room, String(place)]
    })
    const { replicated } = await this.#cluster.write(userSlot(user), [
      'EVALSHA',
      this.#options.moveScript.sha,
      String(keys.length),
      ...keys,
      ...args
    ])
    await replicated
  }
}
