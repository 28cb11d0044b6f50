// The pieces of a room's order, as they are stored: the tail, a stream that takes the new entries,
// and the segments, one stream each for a run of older entries. Reads them and nothing else: what
// was deleted or has expired is left out by log.ts, and sealer.ts moves entries from the tail to
// segments. Invariant: an empty tail or segment is reported only if the key is not on another node
// because its slot is half-moved.
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { type Reply } from '../redis/connection.js'
import { slotOf } from '../redis/slots.js'
import { logKey, roomSlot, segmentKey } from './keys.js'

/**
 * A log entry: its sequence, and the reference to its message (undefined if that part of the log is
 * lost).
 */
export type LogEntry = { readonly seq: number; readonly reference: string | undefined }

export class Pieces {
  readonly segmentLength: number
  readonly #cluster: Pick<Cluster, 'command' | 'read' | 'isStranded'>

  constructor(cluster: Pick<Cluster, 'command' | 'read' | 'isStranded'>, segmentLength: number) {
    this.#cluster = cluster
    this.segmentLength = segmentLength
  }

  /**
   * The last entry of the tail; undefined if the tail is empty.
   * @param isCertain false: believes an empty tail without asking whether its slot is half-moved
   * @throws DialogsError STORE_UNAVAILABLE if the log exists but is out of reach
   */
  async head(room: string, isCertain: boolean): Promise<LogEntry | undefined> {
    const key = logKey(room)
    const read = async (): Promise<LogEntry[]> =>
      parseEntries(await this.#cluster.command(roomSlot(room), newestOf(key, 1)))
    return (isCertain ? await this.#certain(key, read) : await read())[0]
  }

  /**
   * The newest entries of the tail, in order.
   * @throws DialogsError STORE_UNAVAILABLE if the log exists but is out of reach
   */
  async newestOfTail(room: string, count: number): Promise<LogEntry[]> {
    const key = logKey(room)
    const newest = await this.#certain(key, async () =>
      parseEntries(await this.#cluster.read(roomSlot(room), newestOf(key, count)))
    )
    return newest.reverse()
  }

  /** The oldest entries of the tail, in order; empty also if the log is out of reach. */
  async oldestOfTail(room: string, count: number): Promise<LogEntry[]> {
    return parseEntries(await this.#cluster.read(roomSlot(room), oldestOf(logKey(room), count)))
  }

  /**
   * What the tail has from `from` to `to`, both inclusive, in order and without a gap; empty also
   * if the log is out of reach.
   */
  async tail(room: string, from: number, to: number): Promise<LogEntry[]> {
    const tail = parseEntries(
      await this.#cluster.read(roomSlot(room), between(logKey(room), from, to))
    )
    return withoutGap(tail, tail[0]?.seq ?? from, tail.at(-1)?.seq ?? 0)
  }

  /**
   * The first entry of a segment; undefined if there is no such segment.
   * @throws DialogsError STORE_UNAVAILABLE if the segment exists but is out of reach
   */
  async startOfSegment(room: string, segment: number): Promise<LogEntry | undefined> {
    const key = segmentKey(room, segment)
    const entries = await this.#certain(key, async () =>
      parseEntries(await this.#cluster.read(slotOf(key), oldestOf(key, 1)))
    )
    return entries[0]
  }

  /**
   * Every sequence from `from` to `to`, both inclusive, from the segments that cover them. A
   * sequence that no segment has is returned without a reference.
   * @throws DialogsError STORE_UNAVAILABLE if a segment exists but is out of reach
   */
  async segments(room: string, from: number, to: number): Promise<LogEntry[]> {
    const first = Math.floor((from - 1) / this.segmentLength)
    const last = Math.floor((to - 1) / this.segmentLength)
    const segments = await Promise.all(
      Array.from({ length: last - first + 1 }, async (_, index) => {
        const key = segmentKey(room, first + index)
        return await this.#certain(key, async () =>
          parseEntries(await this.#cluster.read(slotOf(key), between(key, from, to)))
        )
      })
    )
    return withoutGap(segments.flat(), from, to)
  }

  // An empty tail means a room without messages, and a missing segment means lost messages. Both
  // must be certain before a reader is told, so this asks whether the key may be on another node.
  // If not, the key is read again: a move that ended between the two commands has brought it here.
  async #certain(key: string, read: () => Promise<LogEntry[]>): Promise<LogEntry[]> {
    const entries = await read()
    if (entries.length > 0) return entries
    if (!(await this.#cluster.isStranded(key))) return await read()
    throw new DialogsError(
      'STORE_UNAVAILABLE',
      'The log of the room is out of reach because its slot is half-moved: run npm run cluster -- finish'
    )
  }
}

function newestOf(key: string, count: number): string[] {
  return ['XREVRANGE', key, '+', '-', 'COUNT', String(count)]
}

function oldestOf(key: string, count: number): string[] {
  return ['XRANGE', key, '-', '+', 'COUNT', String(count)]
}

/** Both sequences inclusive. */
function between(key: string, from: number, to: number): string[] {
  return ['XRANGE', key, `0-${from}`, `0-${to}`]
}

function withoutGap(entries: LogEntry[], from: number, to: number): LogEntry[] {
  if (entries.length === to - from + 1) return entries
  const references = new Map(entries.map(entry => [entry.seq, entry.reference]))
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => ({
    seq: from + index,
    reference: references.get(from + index)
  }))
}

/** Log entries as XRANGE returns them: `[['0-7', ['r', '<reference>']], …]`. */
export function parseEntries(reply: Reply): LogEntry[] {
  // XRANGE and XREVRANGE return exactly this shape (https://redis.io/commands/xrange).
  return (reply as ReadonlyArray<readonly [string, readonly [string, string]]>).map(
    ([id, fields]) => ({ seq: Number(id.slice(2)), reference: fields[1] })
  )
}
