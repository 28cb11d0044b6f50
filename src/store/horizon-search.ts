// Finds the first entry of a room that has not expired. The times in a log rise, nearly, so a
// binary search over the first entries of the segments finds the segment, and one read finds the
// entry in it. A result is kept for a second. After that it is a hint: if the entry before it is
// still gone, the next search begins there. Invariant: an entry counts as expired only if it, or a
// later one, was read and is too old, or if no node has it.
import { Remembered } from '../remembered.js'
import { DialogsError } from '../errors.js'
import { timeOf } from '../message/message.js'
import { type Log } from './log.js'
import { type LogEntry, type Pieces } from './pieces.js'

/** How long a result is kept: entries may be visible for this long after they have expired. */
const FOUND_MS = 1000
const SEGMENTS_MISSED_MAX = 8
/** How often a search is tried, if others change the log in the middle of it. */
const TRIES_MAX = 5

type Reads = Pick<Pieces, 'segmentLength' | 'oldestOfTail' | 'tail' | 'segments' | 'startOfSegment'>
type IsKept = (entry: LogEntry | undefined) => boolean

export class HorizonSearch {
  readonly #pieces: Reads
  readonly #log: Pick<Log, 'head'>
  readonly #found = new Remembered<{ readonly first: number; readonly at: number }>()

  constructor(pieces: Reads, log: Pick<Log, 'head'>) {
    this.#pieces = pieces
    this.#log = log
  }

  /**
   * The lowest sequence from `lowest` on whose time is at the horizon or after it; the sequence
   * after the head if there is none.
   * @throws DialogsError STORE_UNAVAILABLE if a part of the log exists but is out of reach
   */
  async first(room: string, lowest: number, horizonMs: number): Promise<number> {
    const known = this.#found.get(room)
    const now = performance.now()
    if (known !== undefined && now - known.at < FOUND_MS && known.first >= lowest) {
      return known.first
    }
    const isKept: IsKept = entry =>
      entry?.reference !== undefined && timeOf(entry.reference) >= horizonMs
    for (let tries = 1; tries <= TRIES_MAX; tries++) {
      const first = await this.#search(room, lowest, known?.first, isKept)
      if (first === undefined) continue
      this.#found.set(room, { first, at: now })
      return first
    }
    throw new DialogsError(
      'STORE_UNAVAILABLE',
      'The log of the room changes while it is read: try again.'
    )
  }

  /**
   * Takes note of a room's head. A head below the result shows that a failover has taken entries
   * back. Their sequences are given out again, so the result is forgotten.
   */
  noteHead(room: string, seq: number): void {
    const known = this.#found.get(room)
    if (known !== undefined && known.first > seq + 1) this.#found.delete(room)
  }

  /**
   * @param hint what was found before
   * @returns undefined if the reads do not fit together
   */
  async #search(
    room: string,
    lowest: number,
    hint: number | undefined,
    isKept: IsKept
  ): Promise<number | undefined> {
    const { segmentLength } = this.#pieces
    const head = (await this.#log.head(room))?.seq ?? 0
    if (head < lowest) return lowest
    const tailFirst = (await this.#pieces.oldestOfTail(room, 1))[0]?.seq
    if (tailFirst === undefined) return undefined
    const isHintRight =
      hint !== undefined &&
      hint > lowest &&
      hint <= head + 1 &&
      !isKept((await this.#entries(room, hint - 1, hint - 1, tailFirst))[0])
    const from = isHintRight ? hint : lowest
    if (from > head) return from
    let low = Math.floor((from - 1) / segmentLength)
    let high = Math.floor((tailFirst - 1) / segmentLength)
    // Every segment below `low` begins before the horizon. `high` and all after it begin at the
    // horizon or later, or `high` stands for the tail.
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (isKept(await this.#startNear(room, middle, low))) high = middle
      else low = middle + 1
    }
    const below = Math.max(from, (high - 1) * segmentLength + 1)
    const end = Math.min(tailFirst - 1, (high + 1) * segmentLength)
    const sealed = below <= end ? await this.#pieces.segments(room, below, end) : []
    const found = sealed.find(isKept)
    if (found !== undefined) return found.seq
    const start = Math.max(from, tailFirst)
    const tail = await this.#pieces.tail(room, start, head)
    // What is missing has not expired: the tail may be out of reach, or was sealed meanwhile.
    if (tail[0]?.seq !== start || tail.at(-1)?.seq !== head) return undefined
    return tail.find(isKept)?.seq ?? head + 1
  }

  async #entries(room: string, from: number, to: number, tailFirst: number): Promise<LogEntry[]> {
    return from >= tailFirst
      ? await this.#pieces.tail(room, from, to)
      : await this.#pieces.segments(room, from, to)
  }

  // The first entry of a segment. If that segment is missing, takes one shortly before it: a shard
  // may have lost single segments, whereas expiry removes them from the oldest on.
  async #startNear(room: string, segment: number, lowest: number): Promise<LogEntry | undefined> {
    for (let near = segment; near >= Math.max(lowest, segment - SEGMENTS_MISSED_MAX); near--) {
      const first = await this.#pieces.startOfSegment(room, near)
      if (first !== undefined) return first
    }
    return undefined
  }
}
