// A room in this process: the next sequence that it has not seen, the newest frames, and its readers.
// Invariant: frames go to the ring and to the live readers in sequence, each once. A publication with the next sequence is delivered, an
// older one is a duplicate, a newer one proves a gap that is read from the store: commits come before publishing, so it is there.
// After every (re)subscribe the room is read up to its head, and the last message delivered is checked to still be the log's:
// where a failover lost what no replica had, sequences are given out again, and only that comparison tells.
import { type History } from '../store/history.js'
import { LOG_GONE_MS_MAX, type Log } from '../store/log.js'
import { parseReference } from '../message/message.js'
import { Attempts } from './attempts.js'
import { decodePublication, frameAt, frameMs, framesFrom, framesOf, lastOf, type Frames } from '../message/frame.js'
import { Held } from './held.js'
import { batchOf, type Batch } from './output.js'
import { type Page, type Pages } from './pages.js'
import { type Reader } from './reader.js'
import { Ring, type RingBudget, type RingOptions } from './ring.js'

/** Why a reader has to start over: its cursor is beyond the head, or the log has another message there, or has become shorter. */
export type ResetReason = 'beyond-head' | 'rewritten' | 'rewound'

export type RoomOptions = {
  readonly ring: RingOptions
  readonly budget: RingBudget
  readonly pages: Pages
  /** Out-of-order frames that are kept until the gap before them is closed. */
  readonly heldLengthMax: number
  /** How long a gap may close by itself: two writers' publications overtake each other by a moment. */
  readonly gapWaitMs: number
}

/** What a room tells its process, for metrics and log. */
export type RoomEvents = {
  gap: () => void
  reset: (reason: ResetReason) => void
  heldFull: () => void
  /** The store did not answer before its deadline: a sync is tried again, a reader's stream is ended. */
  failed: (what: 'sync' | 'reader', error: unknown) => void
}

/** A number for each past that a room was found to have: what was read of one is not mixed with another. */
let nextPast = 1

export class Room {
  readonly room: string
  /** When a message was last delivered or the log last looked at, on the clock of performance.now(). The audit leaves busy rooms alone. */
  heardAt = 0
  readonly #log: Log
  readonly #history: History
  readonly #options: RoomOptions
  readonly #events: RoomEvents
  readonly #ring: Ring
  readonly #readers = new Set<Reader>()
  readonly #live = new Set<Reader>()
  readonly #held: Held
  readonly #sync: Attempts
  #unsent: Frames[] = []
  /** When the last write to all live readers was done, and how long it took. */
  #flushedAt = 0
  #flushMs = 0
  #headMs = 0
  /** Another one when the log is not as it was: what was fetched before does not belong here. */
  #past = nextPast++
  #isReady = false
  #whenReady: Array<() => void> = []
  #gapTimer: NodeJS.Timeout | undefined
  #missingSince: number | undefined
  #isClosed = false

  constructor (room: string, log: Log, history: History, options: RoomOptions, events: RoomEvents) {
    this.room = room
    this.#log = log
    this.#history = history
    this.#options = options
    this.#events = events
    this.#ring = new Ring(1, options.ring, options.budget)
    this.#held = new Held(options.heldLengthMax)
    // The store does not answer yet: readers wait, heartbeats go on.
    this.#sync = new Attempts(() => this.#readUp(), error => { events.failed('sync', error) })
  }

  /** The last sequence that this process has seen. */
  get head (): number {
    return this.#ring.next - 1
  }

  /** The entry time of the head; 0 in an empty room. */
  get headMs (): number {
    return this.#headMs
  }

  get pages (): Pages {
    return this.#options.pages
  }

  get readerCount (): number {
    return this.#readers.size
  }

  get isSyncing (): boolean {
    return this.#sync.isRunning
  }

  add (reader: Reader): void {
    this.#readers.add(reader)
  }

  remove (reader: Reader): void {
    this.#readers.delete(reader)
    this.#live.delete(reader)
  }

  close (): void {
    this.#isClosed = true
    this.#sync.stop()
    clearTimeout(this.#gapTimer)
    this.#held.clear()
    this.#ring.clear(1)
    for (const resolve of this.#whenReady) resolve()
  }

  /** Resolves when the room is subscribed and has been read up to its head once. */
  async ready (): Promise<void> {
    if (this.#isReady || this.#isClosed) return
    await new Promise<void>(resolve => { this.#whenReady.push(resolve) })
  }

  /** Makes a reader live if it has everything up to this moment: no await lies between the comparison and the joining. */
  goLive (reader: Reader, next: number): boolean {
    if (next !== this.#ring.next) return false
    this.#flush()
    if (this.#readers.has(reader)) this.#live.add(reader)
    return true
  }

  /** A reader has met an error that ends its stream. */
  readerFailed (error: unknown): void {
    this.#events.failed('reader', error)
  }

  leaveLive (reader: Reader): void {
    this.#live.delete(reader)
  }

  /** Frames from a sequence on that the room has seen, from ring or store; at least one, or undefined when the store does not have what the room has seen. */
  async pageFrom (seq: number, length = this.pages.firstLength(1)): Promise<Page | undefined> {
    const group = this.#ring.groupOf(seq)
    if (group !== undefined) return [framesFrom(group, seq)]
    if (seq > this.head) return undefined
    const past = this.#past
    const page = await this.pages.read(this.room, past, seq, this.#ring.first - 1, length)
    if (past === this.#past && !this.#isClosed) for (const frames of page.toReversed()) this.#ring.pushOlder(frames)
    const rest = page.filter(frames => lastOf(frames) >= seq)
    const [first] = rest
    return first === undefined || first.first > seq ? undefined : [framesFrom(first, seq), ...rest.slice(1)]
  }

  /** A publication has arrived. */
  receive (payload: Buffer): void {
    const frames = decodePublication(payload)
    if (frames === undefined || this.#isClosed) return
    if (this.#isReady) this.#accept(frames)
    else this.#hold(frames)
  }

  /** Reads the room up to its head, checks what was delivered, and fills the gap. Tries until it has succeeded or the room is closed. */
  async sync (): Promise<void> {
    await this.#sync.run()
  }

  async #readUp (): Promise<void> {
    const known = this.head
    const knownMs = this.#headMs
    const lookedAt = performance.now()
    const entry = await this.#log.head(this.room)
    this.heardAt = Math.max(this.heardAt, lookedAt)
    const head = entry?.seq ?? 0
    const headMs = msOf(entry?.reference)
    if (!this.#isReady) return this.#begin(head, headMs)
    if (this.#isMissing(head, known)) throw new Error('The log is gone')
    if (head < known) return this.#reset('rewound', head, headMs)
    const thereMs = head === known ? headMs : msOf((await this.#log.range(this.room, known, known))[0]?.reference)
    if (known > 0 && thereMs !== knownMs) return this.#reset('rewritten', head, headMs)
    // With something held, all up to it is committed and was published; what is beyond may still be on its way to a replica. There may be
    // several gaps: each is read up to what is held behind it.
    const target = this.#held.isEmpty ? head : Math.min(head, this.#held.last)
    while (this.head < target && !this.#isClosed) {
      const page = await this.#history.range(this.room, this.head + 1, Math.min(this.head + this.pages.length, target, this.#held.first - 1), this.#past)
      if (page.length === 0) throw new Error('The log ends before its head')
      this.#accept(framesOf(page))
    }
  }

  // A log that was there and is gone altogether comes back within seconds where its half-moved slot's owner has died (see Committer). Until then
  // it is looked for again; after that it is taken for deleted.
  #isMissing (head: number, known: number): boolean {
    if (head > 0 || known === 0) {
      this.#missingSince = undefined
      return false
    }
    this.#missingSince ??= performance.now()
    return performance.now() < this.#missingSince + LOG_GONE_MS_MAX
  }

  #begin (head: number, headMs: number): void {
    this.#ring.clear(head + 1)
    this.#headMs = headMs
    this.#isReady = true
    this.#releaseHeld()
    this.#watchGap()
    for (const resolve of this.#whenReady) resolve()
    this.#whenReady = []
  }

  #reset (reason: ResetReason, head: number, headMs: number): void {
    this.#flush()
    this.#past = nextPast++
    this.#held.clear()
    this.#ring.clear(head + 1)
    this.#headMs = headMs
    this.#events.reset(reason)
    for (const reader of [...this.#readers]) reader.reset(reason)
  }

  #accept (frames: Frames): void {
    if (this.#place(frames) && !this.#held.isEmpty) this.#releaseHeld()
  }

  /** @returns whether the head has moved */
  #place (frames: Frames): boolean {
    // A sync may have asked for it before: the ring has left the common budget.
    if (this.#isClosed) return false
    const { next } = this.#ring
    if (frames.first > next) {
      this.#hold(frames)
    } else if (this.#contradicts(frames)) {
      // Ring and pages are no longer true, or some of it was lost and is there again. The store decides.
      this.#past = nextPast++
      this.#ring.clear(next)
      void this.sync()
    } else if (lastOf(frames) >= next) {
      this.#deliver(framesFrom(frames, next))
      return true
    }
    return false
  }

  // Old sequences with other bytes: the log was rewound, and has given them out again; or a shard has its texts back.
  #contradicts (frames: Frames): boolean {
    for (let seq = frames.first; seq <= Math.min(lastOf(frames), this.head); seq++) {
      const frame = frameAt(frames, seq)
      const known = this.#ring.frame(seq)
      if (known === undefined ? seq === this.head && frameMs(frame) !== this.#headMs : !known.equals(frame)) return true
    }
    return false
  }

  #deliver (frames: Frames): void {
    this.heardAt = performance.now()
    this.#ring.push(frames)
    this.#headMs = frameMs(frameAt(frames, lastOf(frames)))
    if (this.#unsent.push(frames) > 1) return
    // All that comes in one turn is one write for each reader. In a room of thousands that takes milliseconds: then it waits as long as the last
    // time took, so that half of the time is left for everything else, and more goes in one write.
    const waitMs = this.#flushedAt + this.#flushMs - this.heardAt
    if (waitMs < 1) setImmediate(() => { this.#flush() })
    else setTimeout(() => { this.#flush() }, waitMs)
  }

  #flush (): void {
    const [first] = this.#unsent
    if (first === undefined) return
    const batch: Batch = this.#unsent.length === 1
      ? batchOf(first)
      : { first: first.first, bytes: Buffer.concat(this.#unsent.map(({ bytes }) => bytes)), groups: this.#unsent }
    this.#unsent = []
    const begunAt = performance.now()
    for (const reader of this.#live) reader.deliver(batch)
    this.#flushedAt = performance.now()
    this.#flushMs = this.#flushedAt - begunAt
  }

  #hold (frames: Frames): void {
    if (!this.#held.add(frames)) this.#events.heldFull()
    if (this.#isReady) this.#watchGap()
  }

  #watchGap (): void {
    if (this.#held.isEmpty || this.#gapTimer !== undefined) return
    this.#gapTimer = setTimeout(() => {
      this.#gapTimer = undefined
      if (this.#held.isEmpty) return
      this.#events.gap()
      void this.sync()
    }, this.#options.gapWaitMs)
  }

  #releaseHeld (): void {
    for (const frames of this.#held.take(this.#ring.next)) this.#place(frames)
  }
}

const msOf = (reference: string | undefined): number => reference === undefined ? 0 : parseReference(reference).ms
