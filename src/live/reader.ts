// A reader is a cursor, not a queue: a room and the next sequence. While it keeps up, the room writes to its stream; when the stream is
// full it leaves the live readers, and catches up from ring or store, page by page as the client takes them.
//
// Why it neither loses nor repeats where it joins: it goes live only in a turn in which its next sequence is the room's next
// sequence (Room.goLive flushes and compares without an await between), and whoever is live is written everything from there on.
// Joining, resuming, and being slow are this one loop.
import { setImmediate } from 'node:timers/promises'
import { formatCursor, type Cursor } from '../message/message.js'
import { frameAt, frameMs, lastOf } from '../message/frame.js'
import { batchOf, type Batch, type Output } from './output.js'
import { type Page } from './pages.js'
import { Pause } from './pause.js'
import { type ResetReason, type Room } from './room.js'

/** What a client asked for: where to go on, or how much of the history to begin with. */
export type Asked = { readonly after: Cursor | undefined, readonly last: number | undefined }

/** How long a page is kept for a client that does not take it at once. One that is only a little slow gets the whole page that way. */
const PATIENCE_MS = 100

export class Reader {
  readonly #room: Room
  readonly #output: Output
  readonly #asked: Asked
  #next = 0
  #isAnnounced = false
  #isCatchingUp = false
  /** How often it was reset: what was read before one is not written after it. */
  #resets = 0

  constructor (room: Room, output: Output, asked: Asked) {
    this.#room = room
    this.#output = output
    this.#asked = asked
  }

  /** Finds its place and follows the room until it leaves. */
  async start (): Promise<void> {
    await this.#room.ready()
    const { after } = this.#asked
    // A reader that the room has reset meanwhile has its place: here, and while the store is asked.
    if (this.#resets === 0) {
      this.#next = after === undefined ? this.#beginning() : after.seq + 1
      const contradiction = after === undefined ? undefined : await this.#contradicts(after)
      if (contradiction !== undefined && this.#resets === 0) this.reset(contradiction)
    }
    await this.#catchUp()
  }

  /** Called by the room for each batch while the reader is live. */
  deliver (batch: Batch): void {
    if (!this.#output.stream.isFull) return this.#output.frames(batch)
    this.#next = batch.first
    this.#room.leaveLive(this)
    void this.#catchUp()
  }

  /** The log has been rewound or rewritten below what this reader has: it is told, and gets the history as it had asked for it. */
  reset (reason: ResetReason): void {
    const { room, head } = this.#room
    this.#room.leaveLive(this)
    this.#resets++
    this.#next = this.#beginning()
    this.#isAnnounced = false
    this.#output.event('reset', String(this.#next - 1), { room, reason, head })
    void this.#catchUp()
  }

  #beginning (): number {
    const { last } = this.#asked
    return last === undefined ? 1 : Math.max(1, this.#room.head - last + 1)
  }

  async #catchUp (): Promise<void> {
    if (this.#isCatchingUp) return
    this.#isCatchingUp = true
    const { stream } = this.#output
    let length = this.#room.pages.firstLength(this.#room.head - this.#next + 1)
    try {
      while (!stream.hasEnded) {
        await stream.drained()
        await this.#room.ready()
        if (stream.hasEnded) return
        if (this.#room.goLive(this, this.#next)) return this.#announce()
        length = await this.#writePage(length)
      }
    } catch (error) {
      // The store gave up on a page after its deadline. The client comes back with its cursor.
      this.#room.readerFailed(error)
      stream.fail()
    } finally {
      this.#isCatchingUp = false
    }
  }

  // Writes one page, and answers how long the next one should be. In pieces that a socket may hold: when the client turns out to be slow, the
  // rest is dropped, and read again when it gets there. A method of its own, for a suspended function keeps alive all that it has ever held.
  async #writePage (length: number): Promise<number> {
    const { stream } = this.#output
    const { pages } = this.#room
    const resets = this.#resets
    const page = await this.#page(this.#next, length)
    for (const piece of page) {
      // Meanwhile the room may have been reset, and this reader with it.
      if (stream.hasEnded || resets !== this.#resets) return length
      this.#output.frames(batchOf(piece))
      this.#next = lastOf(piece) + 1
      if (piece === page.at(-1)) return pages.lengthAfter(page, length, this.#next, !stream.isFull)
      // A turn for everybody else: to write a whole page to each of many readers would hold up who is live.
      await setImmediate()
      if (!await stream.drainedWithin(PATIENCE_MS)) return pages.lengthAfter(page, length, this.#next, false)
    }
    return length
  }

  // The page that holds a sequence; empty only when this reader was reset or its stream has ended. Where the store has none, the log was rewound or
  // is gone for a moment, and the room does not know: it looks. Never without a pause, for that may be answered at once, too.
  async #page (seq: number, length?: number): Promise<Page> {
    const resets = this.#resets
    const pause = new Pause()
    for (;;) {
      const page = await this.#room.pageFrom(seq, length)
      if (page !== undefined) return page
      await this.#room.sync()
      await pause.wait()
      if (this.#output.stream.hasEnded || resets !== this.#resets) return []
    }
  }

  #announce (): void {
    if (this.#isAnnounced) return
    this.#isAnnounced = true
    const { room, head, headMs } = this.#room
    this.#output.event('live', head === 0 ? '0' : formatCursor(head, headMs), { room, head })
  }

  // A cursor beyond what this process has seen may still be right: another process may have been faster. The store decides.
  async #contradicts ({ seq, ms }: Cursor): Promise<ResetReason | undefined> {
    // Twice, for with a gap open a sync goes only as far as was published here.
    for (let tries = 0; tries < 2 && seq > this.#room.head; tries++) await this.#room.sync()
    if (seq > this.#room.head) return 'beyond-head'
    if (seq === 0 || ms === undefined) return undefined
    const [frames] = await this.#page(seq)
    if (frames === undefined) return undefined
    return frameMs(frameAt(frames, seq)) === ms ? undefined : 'rewritten'
  }
}
