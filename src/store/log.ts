// The order of a room: reads it, and moves its older pieces into segments (sealing). Invariant: at
// every moment every committed sequence is in the tail or in a sealed segment, because a segment is
// written and acknowledged before the tail is trimmed. So reading first the tail, and then the
// segments for what is missing below it, finds everything.
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { type Reply } from '../redis/connection.js'
import { copyKey, deletedKey, logKey, roomSlot, segmentKey } from './keys.js'
import { type Written } from '../redis/node-pipeline.js'
import { slotOf } from '../redis/slots.js'
import { type Retention } from './retention.js'
import { SEAL, SEAL_BY_COPY } from './log-scripts.js'
import { NEEDS_COPY, TOUCH_KEY } from './scripts.js'
import { Remembered } from '../remembered.js'
import { parseDeletion, timeOf } from '../message/message.js'

/**
 * A log entry: its sequence, and the reference to its message (undefined if that part of the log is
 * lost).
 */
export type LogEntry = { readonly seq: number; readonly reference: string | undefined }

/** Up to which sequence a room was deleted, its generation, and when; both 0 for no deletion. */
export type Deletion = { readonly seq: number; readonly ms: number }
/** Entries before `first` are gone. */
export type Horizon = { readonly first: number; readonly reason: 'deleted' | 'trimmed' }
const NEVER: Deletion = { seq: 0, ms: 0 }

type Commands = Pick<Cluster, 'command' | 'read' | 'write' | 'isStranded'>

/**
 * A log that existed and cannot be found for this long counts as deleted. This is much longer than
 * a failover takes, or the restart of a tool that moves slots.
 */
export const LOG_GONE_MS_MAX = 30_000

/** How old the knowledge of what has expired may be. */
const KEPT_LOOK_MS = 1000
const SEGMENTS_MISSED_MAX = 8
const FIND_LENGTH = 1000
/** The times in two references may come from the clocks of two nodes. */
export const CLOCKS_APART_MS_MAX = 60_000

export class Log {
  readonly segmentLength: number
  readonly #cluster: Commands
  /**
   * Per room, a sequence up to which everything is sealed: a hint that saves a look at the tail. It
   * is wrong after an older data set was restored, until the next look at the head.
   */
  readonly #sealed = new Remembered<number>()
  readonly #sealing = new Map<string, Promise<void>>()
  readonly #retention: Retention
  /** The first entries that had not expired, as they were found; they only go up. */
  readonly #kept = new Remembered<{ readonly first: number; readonly at: number }>()

  constructor(cluster: Commands, segmentLength: number, retention: Retention) {
    this.#cluster = cluster
    this.segmentLength = segmentLength
    this.#retention = retention
  }

  /**
   * The newest entries of a room, in order; the last one is the head. Empty for a room without
   * messages, and for one that was deleted and not begun anew.
   * @throws DialogsError STORE_UNAVAILABLE when the log exists but is out of reach
   */
  async newest(room: string, count: number): Promise<LogEntry[]> {
    return await this.#unexpired(room, await this.#newest(room, count))
  }

  async #newest(room: string, count: number): Promise<LogEntry[]> {
    const key = logKey(room)
    const newest = await this.#certain(key, async () =>
      parseEntries(await this.#cluster.read(roomSlot(room), newestOf(key, Math.max(1, count))))
    )
    const entries = sinceDeletion(newest.reverse())
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

  /** The first sequence of a room that is still there, or will be the first. */
  async first(room: string): Promise<number> {
    return (await this.horizon(room)).first
  }

  /** The same, and why what was before is gone. */
  async horizon(room: string): Promise<Horizon> {
    const { seq } = await this.deletion(room)
    const horizonMs = this.#retention.horizonMs(room)
    if (horizonMs === undefined) return { first: seq + 1, reason: 'deleted' }
    const known = this.#kept.get(room)
    const now = performance.now()
    if (known !== undefined && now - known.at < KEPT_LOOK_MS && known.first > seq) {
      return { first: known.first, reason: known.first > seq + 1 ? 'trimmed' : 'deleted' }
    }
    const from = Math.max(seq + 1, known?.first ?? 1)
    const first = await this.#firstSince(room, from, horizonMs)
    this.#kept.set(room, { first, at: now })
    return { first, reason: first > seq + 1 ? 'trimmed' : 'deleted' }
  }

  /** Messages of a room from before this ms are gone; undefined if it keeps all. */
  horizonMs(room: string): number | undefined {
    return this.#retention.horizonMs(room)
  }

  /** Whether messages of a room expire. */
  expires(room: string): boolean {
    return this.#retention.keptMs(room) !== undefined
  }

  async #unexpired(room: string, entries: LogEntry[]): Promise<LogEntry[]> {
    const [oldest] = entries
    if (oldest === undefined || !this.expires(room)) return entries
    const first = await this.first(room)
    return oldest.seq >= first ? entries : entries.filter(({ seq }) => seq >= first)
  }

  // The lowest sequence from `from` on whose time is not before the horizon; behind the head if
  // there is none. Looks at the first entries of some segments, and then into one, or the tail.
  async #firstSince(room: string, from: number, horizonMs: number): Promise<number> {
    const head = (await this.head(room))?.seq ?? 0
    const tail = parseEntries(await this.#cluster.read(roomSlot(room), oldestOf(logKey(room), 1)))
    const tailFirst = tail[0]?.seq ?? 1
    const isKept = (entry: LogEntry | undefined): boolean =>
      entry?.reference !== undefined && timeOf(entry.reference) >= horizonMs
    let low = Math.floor((from - 1) / this.segmentLength)
    let high = Math.floor((tailFirst - 1) / this.segmentLength)
    const end = high
    // Below `low` all segments are older, and `high` and those after it are not, or the tail.
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (isKept(await this.#startNear(room, middle, low))) high = middle
      else low = middle + 1
    }
    for (const segment of [high - 1, high]) {
      const [first, last] = [segment * this.segmentLength + 1, (segment + 1) * this.segmentLength]
      if (last < from || segment < 0) continue
      const entries =
        segment >= end
          ? await this.#fromTail(room, Math.max(from, tailFirst), head)
          : await this.#inSegments(room, Math.max(first, from), last)
      const found = entries.find(isKept)
      if (found !== undefined) return found.seq
    }
    return head + 1
  }

  // The first entry of a segment. If the segment is missing, of one shortly before it: a shard may
  // have lost some, while expiry takes them in their order.
  async #startNear(room: string, segment: number, lowest: number): Promise<LogEntry | undefined> {
    for (let near = segment; near >= Math.max(lowest, segment - SEGMENTS_MISSED_MAX); near--) {
      const key = segmentKey(room, near)
      const [first] = parseEntries(await this.#cluster.read(slotOf(key), oldestOf(key, 1)))
      if (first !== undefined) return first
    }
    return undefined
  }

  /** The last deletion of a room. What was committed up to it is gone. */
  async deletion(room: string): Promise<Deletion> {
    const text = await this.#cluster.command(roomSlot(room), ['GET', deletedKey(room)])
    return text === null ? NEVER : parseDeleted(String(text))
  }

  /**
   * The last sequence of a room with its reference, which may say that the room was deleted;
   * undefined for a room without messages.
   * The last sequence of a room with its reference, which may say that the room was deleted;
   * undefined for a room without messages.
   * @param isCertain false: an empty log is believed, although it may be on another node
   * @throws DialogsError STORE_UNAVAILABLE when the log exists but is out of reach (`range` returns
   * an empty list in that case)
   */
  async head(room: string, isCertain = true): Promise<LogEntry | undefined> {
    const key = logKey(room)
    const read = async (): Promise<LogEntry[]> =>
      parseEntries(await this.#cluster.command(roomSlot(room), newestOf(key, 1)))
    const [head] = isCertain ? await this.#certain(key, read) : await read()
    // After a log was started anew, its head is lower than the old segments, which still exist.
    if ((head?.seq ?? 0) < (this.#sealed.get(room) ?? 0)) this.#sealed.delete(room)
    return head
  }

  /**
   * The entries from `from` to `to`, both inclusive, in order, without a gap. Sequences beyond the
   * head are left out, and so is what is gone: everything before `first`.
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
    const tail = await this.#fromTail(room, from, to)
    if (tail.length === 0) return await this.#outsideTail(room, from, to)
    return await this.#above(room, from, tail)
  }

  async #fromTail(room: string, from: number, to: number): Promise<LogEntry[]> {
    const tail = parseEntries(
      await this.#cluster.read(roomSlot(room), between(logKey(room), from, to))
    )
    return withoutGap(tail, tail[0]?.seq ?? from, tail.at(-1)?.seq ?? 0)
  }

  // Entries below the tail come from the segments.
  async #above(room: string, from: number, tail: LogEntry[]): Promise<LogEntry[]> {
    const entries = sinceDeletion(tail)
    const [first] = entries
    return first === undefined || first.seq <= from || entries.length < tail.length
      ? entries
      : [...(await this.#fromSegments(room, from, first.seq - 1)), ...entries]
  }

  /**
   * Finds the sequence of a reference between two sequences, both inclusive; undefined if it is not
   * among them. Searches from the newest back, and stops at entries older than the reference
   * itself, because a commit comes after its append.
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

  // The range is below the tail or beyond the head. Others may have appended meanwhile, so the tail
  // is read again.
  async #outsideTail(room: string, from: number, to: number): Promise<LogEntry[]> {
    const [first] = parseEntries(
      await this.#cluster.read(roomSlot(room), oldestOf(logKey(room), 1))
    )
    if (first === undefined) return []
    if (to < first.seq) {
      this.#sealed.set(room, first.seq - 1)
      return await this.#fromSegments(room, from, to)
    }
    const head = (await this.head(room))?.seq ?? 0
    if (head < from) return []
    const last = Math.min(to, head)
    const tail = await this.#fromTail(room, from, last)
    return tail.length === 0
      ? await this.#fromSegments(room, from, last)
      : await this.#above(room, from, tail)
  }

  // An empty log means a room without messages, and a missing segment lost messages, only if the
  // key is not on another node: readers would otherwise be told of a loss that did not happen. It
  // is read again after that was found out, because a move that ended in between has brought it.
  async #certain(key: string, read: () => Promise<LogEntry[]>): Promise<LogEntry[]> {
    const entries = await read()
    if (entries.length > 0) return entries
    if (!(await this.#cluster.isStranded(key))) return await read()
    throw new DialogsError(
      'STORE_UNAVAILABLE',
      'The log of the room is out of reach because its slot is half-moved: run npm run cluster -- finish'
    )
  }

  // A sequence that no segment has any more is returned without a reference: its content is lost,
  // but the order has no hole. Unless the room was deleted meanwhile, or a segment is left of a
  // deletion that was interrupted. So it is asked how far the room is deleted, once more where
  // something is missing: it may be gone since.
  async #fromSegments(room: string, from: number, to: number): Promise<LogEntry[]> {
    let [entries, first] = await Promise.all([this.#inSegments(room, from, to), this.first(room)])
    if (entries.some(({ seq, reference }) => reference === undefined && seq >= first)) {
      first = await this.first(room)
    }
    return first <= from ? entries : entries.filter(({ seq }) => seq >= first)
  }

  async #inSegments(room: string, from: number, to: number): Promise<LogEntry[]> {
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

  /**
   * Seals the oldest segments while the tail is longer than two segments. The writer whose commit
   * completed a segment calls it. Anybody may call it at any time, even twice at once, because the
   * same entries are written to the same key.
   */
  async seal(room: string): Promise<void> {
    const running = this.#sealing.get(room)
    if (running !== undefined) return await running
    const sealing = this.#sealOldest(room).finally(() => {
      this.#sealing.delete(room)
    })
    this.#sealing.set(room, sealing)
    await sealing
  }

  async #sealOldest(room: string): Promise<void> {
    const key = logKey(room)
    for (;;) {
      const oldest = parseEntries(
        await this.#cluster.read(roomSlot(room), oldestOf(key, this.segmentLength))
      )
      const first = oldest[0]
      const head = (await this.head(room))?.seq ?? 0
      // Decided by the entries just read and not by the current length of the tail: other processes
      // may have trimmed it since, even completely.
      if (first === undefined || head - first.seq < 2 * this.segmentLength) return
      const segment = Math.floor((first.seq - 1) / this.segmentLength)
      const next = (segment + 1) * this.segmentLength + 1
      const entries = oldest.filter(({ seq }) => seq < next)
      // After a deletion the log begins in the middle of a segment.
      const isAtStart =
        first.seq === segment * this.segmentLength + 1 || isDeletion(first.reference)
      if (!isAtStart || entries.at(-1)?.seq !== next - 1) {
        throw new DialogsError(
          'STORE_UNAVAILABLE',
          `The log of room ${room} does not start at a segment: run npm run check -- --room ${room}`
        )
      }
      // A segment would survive a failover that takes the end of the log back. So only what a
      // replica of the log has may be sealed.
      const logged = await this.#cluster.write(roomSlot(room), ['EVALSHA', TOUCH_KEY.sha, '1', key])
      await logged.replicated
      const target = segmentKey(room, segment)
      // Only what a replica of the segment has may be trimmed from the tail.
      await this.#write(
        target,
        first.seq,
        entries.map(entry => entry.reference ?? '')
      )
      // The room was deleted meanwhile: nobody else would take the segment away again.
      if ((await this.deletion(room)).seq > first.seq) {
        await this.#cluster.command(slotOf(target), ['UNLINK', target])
        return
      }
      await this.#expire(room, target, entries)
      await this.#cluster.command(roomSlot(room), ['XTRIM', key, 'MINID', `0-${next}`])
      this.#sealed.set(room, next - 1)
    }
  }

  // A segment expires after its newest message.
  async #expire(room: string, segment: string, entries: readonly LogEntry[]): Promise<void> {
    const newestMs = Math.max(...entries.map(({ reference }) => timeOf(reference)))
    const expiryMs = this.#retention.expiryMs(room, newestMs)
    if (expiryMs === undefined) return
    const args = ['PEXPIREAT', segment, String(expiryMs)]
    const { replicated } = await this.#cluster.write(slotOf(segment), args)
    await replicated
  }

  async #write(segment: string, first: number, references: readonly string[]): Promise<void> {
    const write = (args: string[]): Promise<Written> =>
      this.#cluster.write(slotOf(segment), ['EVALSHA', ...args, String(first), ...references])
    const sealed = await write([SEAL.sha, '1', segment])
    const { replicated } =
      sealed.reply === NEEDS_COPY
        ? await write([SEAL_BY_COPY.sha, '2', segment, copyKey(segment)])
        : sealed
    await replicated
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

/** @throws DialogsError MESSAGE_DELETED or MESSAGE_EXPIRED for what is gone */
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

const isDeletion = (reference: string | undefined): boolean =>
  reference !== undefined && parseDeletion(reference) !== undefined

/** The entries behind the last deletion of the room that is among them. */
function sinceDeletion(entries: LogEntry[]): LogEntry[] {
  const last = entries.findLastIndex(({ reference }) => isDeletion(reference))
  return last < 0 ? entries : entries.slice(last + 1)
}

// As DELETE_ROOM writes it.
function parseDeleted(text: string): Deletion {
  const [seq = 0, ms = 0] = text.split(' ').map(Number)
  return { seq, ms }
}

/** Log entries as XRANGE returns them: `[['0-7', ['r', '<reference>']], …]`. */
export function parseEntries(reply: Reply): LogEntry[] {
  // XRANGE and XREVRANGE return exactly this shape (https://redis.io/commands/xrange).
  return (reply as ReadonlyArray<readonly [string, readonly [string, string]]>).map(
    ([id, fields]) => ({ seq: Number(id.slice(2)), reference: fields[1] })
  )
}
