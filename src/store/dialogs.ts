// The rooms of a person, each with the time of the person's own last act there: being invited, or
// writing. This is only an index: the membership itself is stored with the room (members.ts), and
// `npm run check` compares the two. Invariant: a room is added here after its user has become a
// member, and removed before the membership ends. So a crash between the two may leave a member who
// does not see the room in their list. If somebody writes during their own removal, a crash may
// also leave the room in the list of a non-member (members.ts); inbox.ts does not show it.
import { type Cluster } from '../redis/cluster.js'
import { DialogsError } from '../errors.js'
import { ADD_DIALOG, MARK_SCORE, MOVE_DIALOGS, REMOVE_DIALOG } from './dialog-scripts.js'
import {
  DIALOGS_PARTS,
  dialogsKey,
  dialogsPart,
  dialogsPartKey,
  PARTS_MARK,
  userSlot
} from './keys.js'
import { Parted } from './parted.js'
import { type ReadMarks } from './read-marks.js'
import { byUtf8 } from './utf8-order.js'

export type OwnDialog = { readonly room: string; readonly ms: number }

/**
 * How many rooms one key may have. With the longest names 4,000 take 1.4 MB. In 64 parts a user can
 * have about 250,000 rooms.
 */
const KEY_ROOMS_MAX = 4000
/** How many rooms each part is asked for at first, at least. */
const FIRST_LOOK_MIN = 8

export class Dialogs {
  readonly #cluster: Cluster
  readonly #marks: ReadMarks
  readonly #parted: Parted

  constructor(cluster: Cluster, marks: ReadMarks, onFault: (error: unknown) => void) {
    this.#cluster = cluster
    this.#marks = marks
    this.#parted = new Parted(
      cluster,
      {
        slot: userSlot,
        key: dialogsKey,
        partKey: dialogsPartKey,
        partOf: dialogsPart,
        moveScript: MOVE_DIALOGS,
        // Listed rooms are then moved away, so the next ones are always the first. No cursor
        // needed.
        list: (key, _cursor, count) => ['ZRANGE', key, '0', String(count - 1)],
        // ZRANGE returns members. The mark comes last, and stays.
        listed: reply => {
          const rooms = reply as readonly string[]
          return [rooms.length > 1 ? '1' : '0', rooms]
        }
      },
      onFault
    )
  }

  /**
   * Adds a room to a user's rooms, or notes a later act there.
   * @returns whether the room is new among them
   * @throws DialogsError TOO_MANY_ROOMS; otherwise as Cluster.write
   */
  async add(user: string, room: string, ms: number, deadline: number): Promise<boolean> {
    const [first, part] = this.#parted.keysOf(user, room)
    const rest = [room, String(ms), String(KEY_ROOMS_MAX)]
    const [outcome, length] = (await this.#cluster.acknowledged(
      userSlot(user),
      ['EVALSHA', ADD_DIALOG.sha, '2', first, part, ...rest],
      deadline,
      () => ['EVALSHA', ADD_DIALOG.sha, '1', first, ...rest]
    )) as readonly [number, number]
    this.#parted.noteLength(user, length)
    if (outcome < 0) {
      throw new DialogsError(
        'TOO_MANY_ROOMS',
        `${user} is in as many rooms as anybody may be: leave some first.`
      )
    }
    return outcome === 1
  }

  /** Removes a room from a user's rooms, with its read mark. @returns whether it was there */
  async remove(user: string, room: string, deadline: number): Promise<boolean> {
    const keys = [...this.#parted.keysOf(user, room), ...this.#marks.keysOf(user, room)]
    const args = ['EVALSHA', REMOVE_DIALOG.sha, '4', ...keys, room]
    return (await this.#cluster.acknowledged(userSlot(user), args, deadline)) === 1
  }

  /** The time of the user's own last act in a room; undefined if it is not among their rooms. */
  async get(user: string, room: string): Promise<number | undefined> {
    const found = await Promise.all(
      this.#parted.keysOf(user, room).map(async key => {
        const ms = await this.#cluster.command(userSlot(user), ['ZSCORE', key, room])
        return ms === null ? -Infinity : Number(ms)
      })
    )
    const ms = Math.max(...found)
    return ms === -Infinity ? undefined : ms
  }

  /**
   * A user's rooms, those with the newest own act first: up to `count`, after `before` in that
   * order if it is given.
   */
  async newest(user: string, count: number, before?: OwnDialog): Promise<OwnDialog[]> {
    const key = this.#parted.key(user)
    const [first, top] = await Promise.all([
      this.#page(user, key, count, before),
      this.#cluster.command(userSlot(user), ['ZREVRANGE', key, '0', '0'])
    ])
    // ZREVRANGE returns members.
    if ((top as readonly string[])[0] !== PARTS_MARK) return first
    return await this.#newestOfParts(user, count, before, first)
  }

  /** Resolves when nothing is being split. */
  async settled(): Promise<void> {
    await this.#parted.settled()
  }

  // Asks each part for a little more than its share. If everything that a part returned is among
  // the newest, the part may have more of them, so it is asked again for twice as many.
  async #newestOfParts(
    user: string,
    count: number,
    before: OwnDialog | undefined,
    first: readonly OwnDialog[]
  ): Promise<OwnDialog[]> {
    const parts: OwnDialog[][] = Array.from({ length: DIALOGS_PARTS }, () => [])
    let asked = Array.from(parts, (_, part) => part)
    let length = FIRST_LOOK_MIN + Math.ceil((2 * count) / DIALOGS_PARTS)
    for (;;) {
      await Promise.all(
        asked.map(async part => {
          parts[part] = await this.#page(user, this.#parted.partKey(user, part), length, before)
        })
      )
      const newest = newestOf([...parts.flat(), ...first], count)
      const last = newest.length < count ? undefined : newest.at(-1)
      asked = asked.filter(part => {
        const found = parts[part] ?? []
        const oldest = found.at(-1)
        return (
          found.length >= length &&
          oldest !== undefined &&
          (last === undefined || byTime(oldest, last) < 0)
        )
      })
      if (asked.length === 0) return newest
      length *= 2
    }
  }

  // A page of one key, in the order of byTime.
  async #page(
    user: string,
    key: string,
    count: number,
    before: OwnDialog | undefined
  ): Promise<OwnDialog[]> {
    const from = before === undefined ? MARK_SCORE - 1 : before.ms
    const found: OwnDialog[] = []
    for (let offset = 0; ; offset += count) {
      const flat = (await this.#cluster.read(userSlot(user), [
        'ZRANGE',
        key,
        String(from),
        '-inf',
        'BYSCORE',
        'REV',
        'LIMIT',
        String(offset),
        String(count),
        'WITHSCORES'
        // Member, score, member, score …
      ])) as readonly string[]
      for (let index = 0; index < flat.length; index += 2) {
        const dialog = { room: flat[index] ?? '', ms: Number(flat[index + 1]) }
        if (before === undefined || byTime(before, dialog) < 0) found.push(dialog)
      }
      if (found.length >= count || flat.length < 2 * count) return found.slice(0, count)
    }
  }
}

/** The newest of some rooms. A room that is there twice counts once, with its later time. */
function newestOf(dialogs: readonly OwnDialog[], count: number): OwnDialog[] {
  const latest = new Map<string, OwnDialog>()
  for (const dialog of dialogs) {
    if ((latest.get(dialog.room)?.ms ?? -1) < dialog.ms) latest.set(dialog.room, dialog)
  }
  return [...latest.values()].sort(byTime).slice(0, count)
}

/** Newest first. Rooms with the same ms are in reverse order of their names' bytes, as in Redis. */
export const byTime = (a: OwnDialog, b: OwnDialog): number => b.ms - a.ms || byUtf8(b.room, a.room)
