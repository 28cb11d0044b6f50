// What is kept per user and room (the user's rooms, and the read marks), in one key while it is
// small and in 64 parts when it is large. Invariant: what counts is the larger of what the first
// key and the part have, so that either may be written at any time. It is split step by step: first
// the mark, from which on it is written in the parts; then a group of rooms at a time moves over,
// each group in one script. Whatever a crash leaves is valid, and the next write goes on with it.
import { type Cluster } from '../redis/cluster.js'
import { type Script } from '../redis/script.js'
import { Remembered } from '../remembered.js'
import { dialogsPart, PARTS_MARK, userSlot } from './keys.js'

/** More rooms than this are split. 3,000 of the longest names take 1.1 MB. */
export const SMALL_MAX = 3000
const MOVED_AT_ONCE = 500
/** After a failed attempt to split. */
const AGAIN_MS = 1000

export type PartedOptions = {
  readonly key: (user: string) => string
  readonly partKey: (user: string, part: number) => string
  /** MOVE_DIALOGS or MOVE_MARKS. */
  readonly moveScript: Script
  /** The command that lists some rooms of a key, from a cursor on; the first is '0'. */
  readonly list: (key: string, cursor: string, count: number) => string[]
  /** Its answer: the next cursor, '0' at the end, and rooms, the mark among them. */
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
   * A script tells how many rooms the first key has, the mark among them; less than 0 when they are
   * split. Begins or goes on with splitting, and does not wait for that.
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

  /** May be called by anybody at any time, also twice at once. */
  async split(user: string): Promise<void> {
    const running = this.#splitting.get(user)
    if (running !== undefined) return await running
    const splitting = this.#splitAll(user).finally(() => {
      this.#splitting.delete(user)
    })
    this.#splitting.set(user, splitting)
    await splitting
  }

  // Nobody adds to the first key once it has the mark, but a writer that is under way: what it adds
  // is found by the next one.
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
