// The order of a room as everybody sees it: the entries of all its pieces (pieces.ts), without what
// was deleted with the room or has expired. Invariant: every committed sequence is in the tail or
// in a segment (sealer.ts). So reading first the tail, and then the segments for what is missing
// below it, finds everything. This only reads; committer.ts writes.
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { Remembered } from '../remembered.js'
import { parseDeletion, timeOf } from '../message/message.js'
import { HorizonSearch } from './horizon-search.js'
import { deletedKey, roomSlot } from './keys.js'
import { type LogEntry, type Pieces } from './pieces.js'
import { type Retention } from './retention.js'

/** Up to which sequence a room was deleted, its generation, and when; both 0 for no deletion. */
export type Deletion = { readonly seq: number; readonly ms: number }
const NEVER: Deletion = { seq: 0, ms: 0 }

/** Where a room begins: entries before `first` are gone. `reason` is why. */
export type Horizon = { readonly first: number; readonly reason: 'deleted' | 'trimmed' }

/**
 * A log that existed and cannot be found for this long counts as deleted. This is much longer than
 * a failover takes, or the restart of a tool that moves slots.
 */
export const LOG_GONE_MS_MAX = 30_000

const FIND_LENGTH = 1000
/** The clocks of two Redis nodes, or of one and this process, differ by less. */
export const CLOCKS_APART_MS_MAX = 60_000

export class Log {
  readonly #cluster: Pick<Cluster, 'command'>
  readonly #pieces: Pieces
  readonly #retention: Retention
  readonly #search: HorizonSearch
  /**
   * Per room, a sequence up to which everything is sealed: a hint that saves a look at the tail. If
   * an older data set is restored, the hint is wrong until the head is read the next time.
   */
  readonly #sealed = new Remembered<number>()

  constructor(cluster: Pick<Cluster, 'command'>, pieces: Pieces, retention: Retention) {
    this.#cluster = cluster
    this.#pieces = pieces
    this.#retention = retention
    this.#search = new HorizonSearch(pieces, this)
  }

  /** How many entries a segment has. */
  get segmentLength(): number {
    return this.#pieces.segmentLength
  }

  /**
   * The newest entries of a room, in order; the last one is the head. Empty if the room has no
   * messages, also after it was deleted.
   * @throws DialogsError STORE_UNAVAILABLE if the log exists but is out of reach
   */
  async newest(room: string, count: number): Promise<LogEntry[]> {
    const entries = await this.#newest(room, count)
    const [oldest] = entries
    if (oldest === undefined || !this.expires(room)) return entries
    const first = await this.first(room)
    return oldest.seq >= first ? entries : entries.filter(({ seq }) => seq >= first)
  }

  async #newest(room: string, count: number): Promise<LogEntry[]> {
    const newest = await this.#pieces.newestOfTail(room, Math.max(1, count))
    const entries = sinceDeletion(newest)
    const first = entries[0]
    if (
      first === undefined ||
      entries.length >= count ||
      first.seq === 1 ||
      entries.length < newest.length
    ) {
      return entries
    }
    const from = Math.max(1, first.seq - (count - entries.length))
    return [...(await this.#fromSegments(room, from, first.seq - 1)), ...entries]
  }

  /** The first sequence that the room still has, or, if it has none, that its next message gets. */
  async first(room: string): Promise<number> {
    return (await this.horizon(room)).first
  }

  /** `first`, and why everything before it is gone. */
  async horizon(room: string): Promise<Horizon> {
    const { seq } = await this.deletion(room)
    const horizonMs = this.#retention.horizonMs(room)
    if (horizonMs === undefined) return { first: seq + 1, reason: 'deleted' }
    const first = await this.#search.first(room, seq + 1, horizonMs)
    return { first, reason: first > seq + 1 ? 'trimmed' : 'deleted' }
  }

  /** Messages of a room from before this ms are gone; undefined if it keeps all of them. */
  horizonMs(room: string): number | undefined {
    return this.#retention.horizonMs(room)
  }

  /** When a key of a room may expire whose newest entry is from `ms`; undefined if it stays. */
  expiryMs(room: string, ms: number): number | undefined {
    return this.#retention.expiryMs(room, ms)
  }

  /** Whether messages of a room expire. */
  expires(room: string): boolean {
    return this.#retention.keptMs(room) !== undefined
  }

  /** The last deletion of a room. Everything committed up to its sequence is gone. */
  async deletion(room: string): Promise<Deletion> {
    const text = await this.#cluster.command(roomSlot(room), ['GET', deletedKey(room)])
    return text === null ? NEVER : parseDeleted(String(text))
  }

  /**
   * The last sequence of a room with its reference; undefined for a room without messages. Right
   * after the room was deleted, the reference is that of the deletion.
   * @param isCertain false: believes an empty log without asking whether its slot is half-moved
   * @throws DialogsError STORE_UNAVAILABLE if the log exists but is out of reach (`range` returns
   * an empty list in that case)
   */
  async head(room: string, isCertain = true): Promise<LogEntry | undefined> {
    const head = await this.#pieces.head(room, isCertain)
    // After a log was started anew, its head is lower than the old segments, which still exist.
    if ((head?.seq ?? 0) < (this.#sealed.get(room) ?? 0)) this.#sealed.delete(room)
    this.#search.noteHead(room, head?.seq ?? 0)
    return head
  }

  /** Remembers that everything up to a sequence is in segments. */
  noteSealed(room: string, seq: number): void {
    this.#sealed.set(room, seq)
  }

  /**
   * The entries from `from` to `to`, both inclusive, in order and without a gap. Leaves out
   * sequences beyond the head, and what is gone: everything before `first`.
   */
  async range(room: string, from: number, to: number): Promise<LogEntry[]> {
    if (!this.expires(room)) return await this.#range(room, from, to)
    const first = Math.max(from, await this.first(room))
    return await this.#range(room, first, to)
  }

  async #range(room: string, from: number, to: number): Promise<LogEntry[]> {
    if (to < from) return []
    if (to <= (this.#sealed.get(room) ?? 0)) {
      const sealed = await this.#fromSegments(room, from, to)
      const isComplete = sealed.every(({ reference }) => reference !== undefined)
      if (isComplete && sealed.length > 0) return sealed
      this.#sealed.delete(room)
    }
    const tail = await this.#pieces.tail(room, from, to)
    if (tail.length === 0) return await this.#outsideTail(room, from, to)
    return await this.#above(room, from, tail)
  }

  // Puts the entries below the tail before it. They come from the segments.
  async #above(room: string, from: number, tail: LogEntry[]): Promise<LogEntry[]> {
    const entries = sinceDeletion(tail)
    const [first] = entries
    return first === undefined || first.seq <= from || entries.length < tail.length
      ? entries
      : [...(await this.#fromSegments(room, from, first.seq - 1)), ...entries]
  }

  // The tail has nothing of the range: the range is below the tail, or beyond the head. Others may
  // have appended meanwhile, so the tail is read again.
  async #outsideTail(room: string, from: number, to: number): Promise<LogEntry[]> {
    const [first] = await this.#pieces.oldestOfTail(room, 1)
    if (first === undefined) return []
    if (to < first.seq) {
      this.#sealed.set(room, first.seq - 1)
      return await this.#fromSegments(room, from, to)
    }
    const head = (await this.head(room))?.seq ?? 0
    if (head < from) return []
    const last = Math.min(to, head)
    const tail = await this.#pieces.tail(room, from, last)
    return tail.length === 0
      ? await this.#fromSegments(room, from, last)
      : await this.#above(room, from, tail)
  }

  // A sequence that no segment has is lost: it is returned without a reference, so that the order
  // has no hole. Two things look like a loss and are none: the room was deleted meanwhile, or an
  // interrupted deletion has left single segments. So everything up to the last deletion is left
  // out, and if something is missing above it, the deletion is read once more.
  async #fromSegments(room: string, from: number, to: number): Promise<LogEntry[]> {
    let [entries, first] = await Promise.all([
      this.#pieces.segments(room, from, to),
      this.first(room)
    ])
    if (entries.some(({ seq, reference }) => reference === undefined && seq >= first)) {
      first = await this.first(room)
    }
    return first <= from ? entries : entries.filter(({ seq }) => seq >= first)
  }

  /**
   * The sequence of a reference, if it is between two sequences, both inclusive; otherwise
   * undefined. Searches from the newest back, and stops at entries older than the reference itself,
   * because a message is committed after it was appended.
   */
  async find(
    room: string,
    reference: string,
    from: number,
    to: number
  ): Promise<number | undefined> {
    const oldestMs = timeOf(reference) - CLOCKS_APART_MS_MAX
    for (let last = to; last >= from; last -= FIND_LENGTH) {
      const entries = await this.range(room, Math.max(from, last - FIND_LENGTH + 1), last)
      const found = entries.find(entry => entry.reference === reference)
      if (found !== undefined) return found.seq
      if (entries.every(entry => timeOf(entry.reference) < oldestMs)) return undefined
    }
    return undefined
  }
}

/** @throws DialogsError MESSAGE_DELETED or MESSAGE_EXPIRED if the sequence is gone */
export async function refuseGone(
  log: Pick<Log, 'horizon'>,
  room: string,
  seq: number
): Promise<void> {
  const { first, reason } = await log.horizon(room)
  if (seq >= first) return
  throw reason === 'deleted'
    ? new DialogsError('MESSAGE_DELETED', `Message ${seq} of room ${room} is deleted.`)
    : new DialogsError('MESSAGE_EXPIRED', `Message ${seq} of room ${room} has expired.`)
}

/** Whether a log entry tells that its room was deleted. */
export const isDeletion = (reference: string | undefined): boolean =>
  reference !== undefined && parseDeletion(reference) !== undefined

/** The entries after the last deletion among them. */
function sinceDeletion(entries: LogEntry[]): LogEntry[] {
  const last = entries.findLastIndex(({ reference }) => isDeletion(reference))
  return last < 0 ? entries : entries.slice(last + 1)
}

// As DELETE_ROOM writes it.
function parseDeleted(text: string): Deletion {
  const [seq = 0, ms = 0] = text.split(' ').map(Number)
  return { seq, ms }
}
