// Searches the first entry of a room that has not expired. The times in a log rise, nearly, so a
// binary search over the first entries of the segments finds the segment, and one read finds the
// entry in it. What was found is kept for a second: the horizon moves with the clock, and only
// forward.
import { Remembered } from '../remembered.js'
import { timeOf } from '../message/message.js'
import { type Log } from './log.js'
import { type LogEntry, type Pieces } from './pieces.js'

/** How long a result is kept: entries may be visible for this long after they have expired. */
const FOUND_MS = 1000
const SEGMENTS_MISSED_MAX = 8

export class HorizonSearch {
  readonly #pieces: Pieces
  readonly #log: Pick<Log, 'head'>
  readonly #found = new Remembered<{ readonly first: number; readonly at: number }>()

  constructor(pieces: Pieces, log: Pick<Log, 'head'>) {
    this.#pieces = pieces
    this.#log = log
  }

  /**
   * The lowest sequence from `lowest` on whose time is at the horizon or after it; the sequence
   * after the head if there is none.
   */
  async first(room: string, lowest: number, horizonMs: number): Promise<number> {
    const known = this.#found.get(room)
    const now = performance.now()
    if (known !== undefined && now - known.at < FOUND_MS && known.first >= lowest) {
      return known.first
    }
    const from = Math.max(lowest, known?.first ?? 1)
    const first = await this.#search(room, from, horizonMs)
    this.#found.set(room, { first, at: now })
    return first
  }

  async #search(room: string, from: number, horizonMs: number): Promise<number> {
    const { segmentLength } = this.#pieces
    const head = (await this.#log.head(room))?.seq ?? 0
    const tailFirst = (await this.#pieces.oldestOfTail(room, 1))[0]?.seq ?? 1
    const isKept = (entry: LogEntry | undefined): boolean =>
      entry?.reference !== undefined && timeOf(entry.reference) >= horizonMs
    let low = Math.floor((from - 1) / segmentLength)
    let high = Math.floor((tailFirst - 1) / segmentLength)
    const tailSegment = high
    // Every segment below `low` begins before the horizon. `high` and all after it begin at the
    // horizon or later, or `high` stands for the tail.
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (isKept(await this.#startNear(room, middle, low))) high = middle
      else low = middle + 1
    }
    for (const segment of [high - 1, high]) {
      const [first, last] = [segment * segmentLength + 1, (segment + 1) * segmentLength]
      if (last < from || segment < 0) continue
      const entries =
        segment >= tailSegment
          ? await this.#pieces.tail(room, Math.max(from, tailFirst), head)
          : await this.#pieces.segments(room, Math.max(first, from), last)
      const found = entries.find(isKept)
      if (found !== undefined) return found.seq
    }
    return head + 1
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
