// A reader is a cursor, not a queue: a room and the next sequence. While it keeps up, the room
// writes to its stream. When the stream is full, the reader leaves the live readers and catches up
// from the ring or the store, page by page, as fast as the client takes them.
//
// Why it neither loses nor repeats a message where it joins: it goes live only in a turn in which
// its next sequence is the room's next sequence (Room.goLive flushes and compares without an await
// between), and a live reader is written everything from there on. Joining, resuming and being slow
// are this one loop.
import { setImmediate } from 'node:timers/promises'
import { formatCursor, type Cursor } from '../message/message.js'
import { frameAt, frameMs, lastOf } from '../message/frame.js'
import { type ResetReason, type RoomReader } from './fan-out.js'
import { batchOf, type Batch, type Output } from './output.js'
import { type Page } from './pages.js'
import { Pause } from './pause.js'
import { type Room } from './room.js'

/** Where a client begins: after a cursor, or with the newest `last` messages. */
export type JoinRequest = { readonly after: Cursor | undefined; readonly last: number | undefined }

/**
 * How long the rest of a page is kept for a client that does not take it at once. A client that is
 * only a little slow gets the whole page.
 */
const PATIENCE_MS = 100

export class Reader implements RoomReader {
  readonly #room: Room
  readonly #output: Output
  readonly #request: JoinRequest
  #next = 0
  #isAnnounced = false
  #isCatchingUp = false
  #isLive = false
  /** How often it was reset. What was read before a reset is not written after it. */
  #resets = 0

  constructor(room: Room, output: Output, request: JoinRequest) {
    this.#room = room
    this.#output = output
    this.#request = request
  }

  /** Finds its place and follows the room until it leaves. */
  async start(): Promise<void> {
    if (this.#room.sync.isBehind) this.fallBehind()
    await this.#room.ready()
    const { after } = this.#request
    // If the room has reset this reader in the meantime, it has its place already. That may also
    // happen while the store is asked.
    if (this.#resets === 0) {
      this.#next = after === undefined ? this.#beginning() : after.seq + 1
      await this.#room.horizon.lookBack(this.#next)
      if (after === undefined) this.#next = Math.max(this.#next, this.#room.horizon.known.first)
      else this.#resetIfGone()
    }
    if (this.#resets === 0) {
      const contradiction = after === undefined ? undefined : await this.#contradicts(after)
      if (contradiction !== undefined && this.#resets === 0) this.reset(contradiction)
    }
    await this.#catchUp()
  }

  /** Called by the room for each batch while the reader is live. */
  deliver(batch: Batch): void {
    if (!this.#output.stream.isFull) return this.#output.frames(batch)
    this.#next = batch.first
    this.#leaveLive()
    void this.#catchUp()
  }

  /** Called by the room for each signal while the reader is live. */
  signal(frame: Buffer): void {
    this.#output.stream.writeIfIdle(frame)
  }

  /**
   * The log was rewound or rewritten below what this reader has. Tells the client, and starts again
   * where the client first asked to start.
   */
  reset(reason: ResetReason): void {
    const { room, head } = this.#room
    this.#leaveLive()
    this.#resets++
    this.#next = this.#beginning()
    this.#isAnnounced = false
    this.#output.event('reset', String(this.#next - 1), { room, reason, head })
    void this.#catchUp()
  }

  /** Tells the client that messages may be missing until the next `live`. */
  fallBehind(): void {
    const { room, head } = this.#room
    this.#isAnnounced = false
    this.#output.passing('behind', { room, head })
    if (!this.#isLive) return
    this.#leaveLive()
    this.#next = head + 1
    void this.#catchUp()
  }

  #leaveLive(): void {
    this.#isLive = false
    this.#room.leaveLive(this)
  }

  #beginning(): number {
    const { last } = this.#request
    const { first } = this.#room.horizon.known
    return last === undefined ? first : Math.max(first, this.#room.head - last + 1)
  }

  #resetIfGone(): void {
    const { first, reason } = this.#room.horizon.known
    if (this.#next < first) this.reset(reason)
  }

  // A live reader has no place of its own: its room writes to it. `start` calls this even if a
  // reset has made the reader live in the meantime.
  async #catchUp(): Promise<void> {
    if (this.#isCatchingUp || this.#isLive) return
    this.#isCatchingUp = true
    const { stream } = this.#output
    const { room, pages, head } = this.#room
    let length = pages.firstLength(room, head - this.#next + 1)
    try {
      while (!stream.hasEnded) {
        await stream.drained()
        await this.#room.ready()
        if (stream.hasEnded) return
        if (this.#room.goLive(this, this.#next)) {
          this.#isLive = true
          return this.#announce()
        }
        length = await this.#writePage(length)
      }
    } catch (error) {
      // The store did not answer before its deadline. The client comes back with its cursor.
      this.#room.readerFailed(error)
      stream.fail()
    } finally {
      this.#isCatchingUp = false
    }
  }

  // Writes one page in pieces that fit into a socket, and returns how long the next page should be.
  // If the client turns out to be slow, the rest of the page is dropped and read again later. This
  // is a separate method because a suspended async function keeps everything alive that it has
  // held.
  async #writePage(length: number): Promise<number> {
    const { stream } = this.#output
    const { pages } = this.#room
    const resets = this.#resets
    const page = await this.#page(this.#next, length)
    const { epoch } = this.#room
    for (const piece of page) {
      // The room may have been reset in the meantime, and this reader with it.
      if (stream.hasEnded || resets !== this.#resets) return length
      // A message was changed while pieces of this page waited: what is left of it is read anew.
      if (epoch !== this.#room.epoch && piece !== page[0]) return length
      this.#output.frames(batchOf(piece))
      this.#next = lastOf(piece) + 1
      if (piece === page.at(-1)) return pages.lengthAfter(page, length, this.#next, !stream.isFull)
      // Give everybody else a turn: writing whole pages to many readers would hold up the live
      // ones.
      await setImmediate()
      if (!(await stream.drainedWithin(PATIENCE_MS))) {
        return pages.lengthAfter(page, length, this.#next, false)
      }
    }
    return length
  }

  // The page that holds a sequence; empty only when that is gone or the stream has ended.
  // If the store has no such page, the log was rewound or is gone for a moment, and the room does
  // not know it yet: so the room syncs. There is always a pause before the next attempt, because a
  // sync may return at once and change nothing.
  async #page(seq: number, length?: number): Promise<Page> {
    const resets = this.#resets
    const pause = new Pause()
    for (;;) {
      const page = await this.#room.pageFrom(seq, length)
      if (page !== undefined) return page
      await this.#room.sync.run()
      await this.#room.horizon.lookBack(seq)
      if (resets === this.#resets) this.#resetIfGone()
      // A cursor may name the deletion of its room, which no page holds.
      if (seq < this.#room.horizon.known.first) return []
      await pause.wait()
      if (this.#output.stream.hasEnded || resets !== this.#resets) return []
    }
  }

  #announce(): void {
    if (this.#isAnnounced) return
    this.#isAnnounced = true
    const { room, head, headMs } = this.#room
    this.#output.event('live', head === 0 ? '0' : formatCursor(head, headMs), { room, head })
  }

  // A cursor beyond what this process has seen may still be right, if another process was faster.
  // The store decides.
  async #contradicts({ seq, ms }: Cursor): Promise<ResetReason | undefined> {
    // Twice, because with an open gap a sync reads only as far as was published here.
    for (let tries = 0; tries < 2 && seq > this.#room.head; tries++) await this.#room.sync.run()
    if (seq > this.#room.head) return 'beyond-head'
    if (seq === 0 || ms === undefined || seq < this.#room.horizon.known.first) return undefined
    const [frames] = await this.#page(seq)
    if (frames === undefined) return undefined
    return frameMs(frameAt(frames, seq)) === ms ? undefined : 'rewritten'
  }
}
