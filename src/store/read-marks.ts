// How far a person has read in each of their rooms, and when they said so: `<sequence>-<ms>`.
// Invariant: a mark never moves back, whichever process sets it, and in whatever order.
import { type Cluster } from '../redis/cluster.js'
import { MARK_READ, MOVE_MARKS } from './dialog-scripts.js'
import { dialogsPart, PARTS_MARK, readKey, readPartKey, userSlot } from './keys.js'
import { HASH_LISTING, Parted } from './parted.js'

export type ReadMark = {
  /** The last sequence read; 0 if none was. */
  readonly seq: number
  /** When the person said so; 0 if they never did. */
  readonly ms: number
}

const NO_MARK: ReadMark = { seq: 0, ms: 0 }

export class ReadMarks {
  readonly #cluster: Cluster
  readonly #parted: Parted

  constructor(cluster: Cluster, onFault: (error: unknown) => void) {
    this.#cluster = cluster
    this.#parted = new Parted(
      cluster,
      {
        slot: userSlot,
        key: readKey,
        partKey: readPartKey,
        partOf: dialogsPart,
        moveScript: MOVE_MARKS,
        ...HASH_LISTING
      },
      onFault
    )
  }

  keysOf(user: string, room: string): [first: string, part: string] {
    return this.#parted.keysOf(user, room)
  }

  /**
   * Moves a mark forward.
   * @returns the mark now, and whether this call has moved it
   * @throws DialogsError as Cluster.write
   */
  async mark(
    user: string,
    room: string,
    { seq, ms }: ReadMark,
    deadline: number
  ): Promise<{ readonly seq: number; readonly isMoved: boolean }> {
    const [firstKey, part] = this.keysOf(user, room)
    const rest = [room, String(seq), String(ms)]
    // MARK_READ returns three numbers.
    const [markedSeq, isMoved, length] = (await this.#cluster.acknowledged(
      userSlot(user),
      ['EVALSHA', MARK_READ.sha, '2', firstKey, part, ...rest],
      deadline,
      () => ['EVALSHA', MARK_READ.sha, '1', firstKey, ...rest]
    )) as readonly [number, number, number]
    this.#parted.noteLength(user, length)
    return { seq: markedSeq, isMoved: isMoved === 1 }
  }

  /** The marks of some rooms, in the same order. */
  async many(user: string, rooms: readonly string[]): Promise<ReadMark[]> {
    if (rooms.length === 0) return []
    const [mark, ...first] = await this.#get(user, this.#parted.key(user), [PARTS_MARK, ...rooms])
    if (mark === null) return first.map(parseMark)
    const byPart = new Map<number, string[]>()
    for (const room of rooms) {
      const part = dialogsPart(room)
      const others = byPart.get(part)
      if (others === undefined) byPart.set(part, [room])
      else others.push(room)
    }
    const inParts = new Map<string, string | null>()
    await Promise.all(
      [...byPart].map(async ([part, rooms]) => {
        const marks = await this.#get(user, this.#parted.partKey(user, part), rooms)
        for (const [index, room] of rooms.entries()) inParts.set(room, marks[index] ?? null)
      })
    )
    return rooms.map((room, index) => {
      const direct = parseMark(first[index] ?? null)
      const inPart = parseMark(inParts.get(room) ?? null)
      return direct.seq > inPart.seq ? direct : inPart
    })
  }

  /** Resolves when nothing is being split. */
  async settled(): Promise<void> {
    await this.#parted.settled()
  }

  async #get(user: string, key: string, fields: readonly string[]): Promise<Array<string | null>> {
    // HMGET returns a value for each field.
    return (await this.#cluster.command(userSlot(user), ['HMGET', key, ...fields])) as Array<
      string | null
    >
  }
}

function parseMark(text: string | null): ReadMark {
  if (text === null) return NO_MARK
  const [seq, ms] = text.split('-').map(Number)
  return { seq: seq ?? 0, ms: ms ?? 0 }
}
