// A room in this process: the next sequence that it has not seen, the newest frames, and its
// readers. Invariant: frames go to the ring and to the live readers in sequence order, each once. A
// publication that begins with the next sequence is delivered; an older one is a duplicate. A newer
// one proves a gap, and the gap is read from the store, where the messages are because they are
// committed before they are published. After every (re)subscription the room is read up to its
// head, and the last delivered message is compared with the log: a failover may have lost sequences
// that were then given out again, and only this comparison shows it.
import { type History } from '../store/history.js'
import { type Horizon, LOG_GONE_MS_MAX, type Log } from '../store/log.js'
import { timeOf } from '../message/message.js'
import { EarlyFrames } from './early-frames.js'
import { FanOut, type ResetReason, type RoomReader } from './fan-out.js'
import { decodeDeletion, decodePublication, decodeSignal } from '../message/publication.js'
import { frameAt, frameMs, framesFrom, framesOf, lastOf, type Frames } from '../message/frame.js'
import { type Page, type Pages } from './pages.js'
import { Retrier } from './retrier.js'
import { type RoomWatch } from './room-watch.js'
import { Ring, type RingBudget, type RingOptions } from './ring.js'

/** What a room asks of the store. */
export type RoomLog = Pick<Log, 'head' | 'range' | 'horizon' | 'expires'>
export type RoomHistory = Pick<History, 'range'>

export type RoomSettings = RingOptions & {
  /** Frames that may wait for the gap before them to close. */
  readonly earlyLengthMax: number
  /**
   * How long a gap may take to close by itself: publications of two writers can overtake each
   * other.
   */
  readonly gapWaitMs: number
}

/** What the rooms of a process share. */
export type RoomOptions = {
  readonly settings: RoomSettings
  readonly budget: RingBudget
  readonly pages: Pages
}

/** What a room reports to its process, for metrics and the log. */
export type RoomEvents = {
  gap: () => void
  reset: (reason: ResetReason) => void
  earlyFull: () => void
  /**
   * The store did not answer before its deadline. A sync is tried again; a reader's stream ends.
   */
  failed: (what: 'sync' | 'reader', error: unknown) => void
}

/** Epochs are numbered over all rooms, so that pages read in different epochs are never mixed. */
let nextEpoch = 1

/**
 * How often a page is read anew because messages were changed meanwhile: a room in which somebody
 * changes messages all the time must not starve its readers.
 */
const READS_MAX = 3
/** How long it is believed that nothing more is gone of a room. */
const HORIZON_MS = 1000

/** For how long the store is asked in vain before readers are told. */
export const BEHIND_MS_MIN = 5000

export class Room {
  readonly room: string
  /**
   * When a message was last delivered or the log last read, by performance.now(). The audit skips
   * rooms that were heard of recently.
   */
  heardAt = 0
  readonly #log: RoomLog
  readonly #history: RoomHistory
  readonly #options: RoomOptions
  readonly #events: RoomEvents
  readonly #ring: Ring
  readonly #readers = new Set<RoomReader>()
  readonly #fanOut = new FanOut()
  readonly #early: EarlyFrames
  readonly #sync: Retrier
  #headMs = 0
  #horizon: Horizon = { first: 1, reason: 'deleted' }
  #horizonAt = -Infinity
  /**
   * The room's epoch: it changes whenever the log turns out to have been rewound. What was read in
   * an earlier epoch is not used any more.
   */
  #epoch = nextEpoch++
  /** The last delivered entry when the room was to be compared with the log, until that is done. */
  #doubted: { readonly seq: number; readonly ms: number } | undefined
  #isReady = false
  #whenReady: Array<() => void> = []
  #gapTimer: NodeJS.Timeout | undefined
  #missingSince: number | undefined
  /** Since when the store was asked in vain. */
  #tryingSince: number | undefined
  #isBehind = false
  #isClosed = false
  #watch: RoomWatch | undefined

  constructor(
    room: string,
    log: RoomLog,
    history: RoomHistory,
    options: RoomOptions,
    events: RoomEvents
  ) {
    this.room = room
    this.#log = log
    this.#history = history
    this.#options = options
    this.#events = events
    this.#ring = new Ring(1, options.settings, options.budget)
    this.#early = new EarlyFrames(options.settings.earlyLengthMax)
    // While the store does not answer, readers wait, know it, and heartbeats go on.
    this.#sync = new Retrier(
      async () => {
        this.#tryingSince ??= performance.now()
        await this.#readUp()
        this.#tryingSince = undefined
        this.#isBehind = false
        this.#release()
      },
      error => {
        events.failed('sync', error)
        this.#fallBehind()
      }
    )
  }

  /** The last sequence that this process has seen. */
  get head(): number {
    return this.#ring.next - 1
  }

  /** The time of the head's entry; 0 in an empty room. */
  get headMs(): number {
    return this.#headMs
  }

  /** What is known to be gone; `lookBack` looks anew. */
  get horizon(): Horizon {
    return this.#horizon
  }

  /** Changes whenever something that was read from the room may be outdated. */
  get epoch(): number {
    return this.#epoch
  }

  get pages(): Pages {
    return this.#options.pages
  }

  get readerCount(): number {
    return this.#readers.size
  }

  /** The room may have messages that cannot be read now. Its readers have been told. */
  get isBehind(): boolean {
    return this.#isBehind
  }

  get isSyncing(): boolean {
    return this.#sync.isRunning
  }

  /** Calls the watch of everything that is delivered from now on. */
  watchWith(watch: RoomWatch): void {
    this.#watch = watch
  }

  add(reader: RoomReader): void {
    this.#readers.add(reader)
  }

  remove(reader: RoomReader): void {
    this.#readers.delete(reader)
    this.#fanOut.remove(reader)
  }

  close(): void {
    this.#isClosed = true
    this.#sync.stop()
    clearTimeout(this.#gapTimer)
    this.#early.clear()
    this.#ring.clear(1)
    for (const resolve of this.#whenReady) resolve()
  }

  /**
   * Resolves when the room is subscribed and has been read up to its head once, and is not behind.
   */
  async ready(): Promise<void> {
    if ((this.#isReady && !this.#isBehind) || this.#isClosed) return
    await new Promise<void>(resolve => {
      this.#whenReady.push(resolve)
    })
  }

  /**
   * Makes a reader live if it has everything up to this moment. There is no await between the
   * comparison and the joining.
   */
  goLive(reader: RoomReader, next: number): boolean {
    if (next !== this.#ring.next) return false
    this.#fanOut.flush()
    if (this.#readers.has(reader)) this.#fanOut.add(reader)
    return true
  }

  /** Reports an error that ends a reader's stream. */
  readerFailed(error: unknown): void {
    this.#events.failed('reader', error)
  }

  leaveLive(reader: RoomReader): void {
    this.#fanOut.remove(reader)
  }

  /**
   * At least one frame, starting at a sequence that the room has seen, from the ring or the store.
   * Undefined if the store does not have what the room has seen.
   */
  async pageFrom(seq: number, length = this.pages.firstLength(1)): Promise<Page | undefined> {
    const group = this.#ring.groupOf(seq)
    if (group !== undefined) return [framesFrom(group, seq)]
    if (seq > this.head) return undefined
    let { epoch, page } = await this.#readPage(seq, length)
    // Read before a message was changed, so it may hold a text that is no more.
    for (let tries = 1; tries < READS_MAX && epoch !== this.#epoch; tries++) {
      ;({ epoch, page } = await this.#readPage(seq, length))
    }
    if (epoch === this.#epoch && !this.#isClosed) {
      for (const frames of page.toReversed()) this.#ring.pushOlder(frames)
    }
    const rest = page.filter(frames => lastOf(frames) >= seq)
    const [first] = rest
    return first === undefined || first.first > seq
      ? undefined
      : [framesFrom(first, seq), ...rest.slice(1)]
  }

  /**
   * Finds out whether what a reader wants next is gone. Costs nothing if the ring has it, unless
   * messages expire: then the ring forgets those too.
   */
  async lookBack(seq: number): Promise<void> {
    if (performance.now() - this.#horizonAt < HORIZON_MS) return
    if (seq >= this.#ring.first && !this.#log.expires(this.room)) return
    this.#horizonAt = performance.now()
    this.#gone(await this.#log.horizon(this.room))
  }

  #gone(horizon: Horizon): void {
    if (horizon.first <= this.#horizon.first) return
    this.#horizon = horizon
    this.#ring.forgetBefore(horizon.first)
  }

  async #readPage(seq: number, length: number): Promise<{ epoch: number; page: Page }> {
    const epoch = this.#epoch
    return {
      epoch,
      page: await this.pages.read(this.room, epoch, seq, this.#ring.first - 1, length)
    }
  }

  /** Takes a publication from the room's channel. */
  receive(payload: Buffer): void {
    const frames = decodePublication(payload)
    if (this.#isClosed) return
    if (frames === undefined) return this.#receiveOther(payload)
    // Published before a change that is here already, and late: the store has what they are now.
    if (this.#early.changes(frames)) return
    this.#heed(frames)
    if (this.#isReady) this.#accept(frames)
    else this.#hold(frames)
  }

  // From here on nobody gets what the changed messages said before: not from the ring, not from a
  // page that is kept or being read, not from a publication that waits for its gap to close.
  #heed(frames: Frames): void {
    if (frames.changes === undefined) return
    this.#epoch = nextEpoch++
    for (const seq of frames.changes) {
      this.#ring.forget(seq)
      this.#early.forget(seq, lastOf(frames))
    }
  }

  #receiveOther(payload: Buffer): void {
    const frame = decodeSignal(payload)
    if (frame !== undefined) return this.#fanOut.signal(frame)
    const deletion = decodeDeletion(payload)
    // What was read before may be from before the deletion; and a newer version may say something
    // in a way that this one does not know.
    if (!this.#isReady || deletion === undefined) void this.sync()
    else if (deletion.seq > this.head) this.#delete(deletion.seq, deletion.ms)
  }

  #delete(head: number, headMs: number): void {
    this.#gone({ first: head + 1, reason: 'deleted' })
    this.#reset('deleted', head, headMs)
  }

  /**
   * Reads the room up to its head, checks what was delivered, and fills the gap. Retries until it
   * succeeds or the room is closed.
   */
  async sync(): Promise<void> {
    await this.#sync.run()
  }

  /**
   * As `sync`, but at half the cost in a room that never had a message: the answer that it still
   * has none is believed. Enough where nothing points to a message that was missed.
   */
  async glance(): Promise<void> {
    if (this.#isReady && this.head === 0 && !this.isSyncing) {
      const lookedAt = performance.now()
      try {
        const head = await this.#log.head(this.room, false)
        this.heardAt = Math.max(this.heardAt, lookedAt)
        if (head === undefined) return
      } catch (error) {
        this.#events.failed('sync', error)
      }
    }
    await this.sync()
  }

  async #readUp(): Promise<void> {
    // Kept until it is compared: while the log cannot be read, a new one may begin, and what is
    // delivered of that agrees with it.
    this.#doubted ??= { seq: this.head, ms: this.#headMs }
    const { seq: known, ms: knownMs } = this.#doubted
    const lookedAt = performance.now()
    const entry = await this.#log.head(this.room)
    this.heardAt = Math.max(this.heardAt, lookedAt)
    const head = entry?.seq ?? 0
    const headMs = timeOf(entry?.reference)
    if (!this.#isReady) return this.#begin(head, headMs)
    if (this.#isMissing(head, known)) throw new Error('The log is gone')
    if (head < known) return this.#reset('rewound', head, headMs)
    if (known > 0) {
      const there = head === known ? entry : (await this.#log.range(this.room, known, known))[0]
      // It may be gone although what follows is there.
      if (there === undefined) {
        if (await this.#resetIfGone(known + 1, head, headMs)) return
      } else if (timeOf(there.reference) !== knownMs) {
        return this.#reset('rewritten', head, headMs)
      }
    }
    this.#doubted = undefined
    if (this.#log.expires(this.room)) await this.lookBack(this.#ring.first)
    // Everything before an early frame is committed and published, but entries after the last early
    // frame may not have reached a replica yet. So reading stops there. If there are several gaps,
    // each is read up to the early frames after it.
    const target = this.#early.isEmpty ? head : Math.min(head, this.#early.last)
    for (let tries = 1; this.head < target && !this.#isClosed; tries++) {
      const epoch = this.#epoch
      const page = await this.#history.range(
        this.room,
        this.head + 1,
        Math.min(this.head + this.pages.length, target, this.#early.first - 1),
        epoch
      )
      if (page.length === 0 || page[0]?.seq !== this.head + 1) {
        if (await this.#resetIfGone(this.head + 1, head, headMs)) return
        throw new Error('The log ends before its head')
      }
      // As in pageFrom.
      if (epoch !== this.#epoch && tries < READS_MAX) continue
      tries = 0
      const frames = framesOf(page)
      this.#heed(frames)
      this.#accept(frames)
    }
  }

  // A log can disappear for seconds when the owner of its half-moved slot dies (see Committer). It
  // is looked for again until LOG_GONE_MS_MAX; after that it counts as deleted.
  #isMissing(head: number, known: number): boolean {
    if (head > 0 || known === 0) {
      this.#missingSince = undefined
      return false
    }
    this.#missingSince ??= performance.now()
    return performance.now() < this.#missingSince + LOG_GONE_MS_MAX
  }

  #begin(head: number, headMs: number): void {
    this.#doubted = undefined
    this.#ring.clear(head + 1)
    this.#headMs = headMs
    this.#isReady = true
    this.#releaseEarly()
  }

  #release(): void {
    for (const resolve of this.#whenReady) resolve()
    this.#whenReady = []
  }

  // A failover is over before this. Readers would otherwise take the silence for a quiet room.
  #fallBehind(): void {
    const sinceMs = performance.now() - (this.#tryingSince ?? Infinity)
    if (this.#isBehind || this.#isClosed || sinceMs < BEHIND_MS_MIN) return
    this.#isBehind = true
    this.#fanOut.flush()
    for (const reader of [...this.#readers]) reader.fallBehind()
  }

  /** Resets the room to its head if an entry that it relies on is gone. */
  async #resetIfGone(seq: number, head: number, headMs: number): Promise<boolean> {
    const epoch = this.#epoch
    const horizon = await this.#log.horizon(this.room)
    if (seq >= horizon.first) return false
    if (epoch !== this.#epoch || horizon.first > head + 1) throw new Error('Deleted meanwhile')
    this.#gone(horizon)
    this.#reset(horizon.reason, head, headMs)
    return true
  }

  #reset(reason: ResetReason, head: number, headMs: number): void {
    this.#fanOut.flush()
    this.#doubted = undefined
    this.#epoch = nextEpoch++
    this.#early.clear()
    this.#ring.clear(head + 1)
    this.#headMs = headMs
    this.#events.reset(reason)
    for (const reader of [...this.#readers]) reader.reset(reason)
    this.#watch?.reset()
  }

  #accept(frames: Frames): void {
    if (this.#place(frames) && !this.#early.isEmpty) this.#releaseEarly()
  }

  /** @returns whether the head has moved */
  #place(frames: Frames): boolean {
    // A sync that began before the room was closed may still bring frames. A closed room's ring is
    // no longer counted in the budget.
    if (this.#isClosed) return false
    const { next } = this.#ring
    if (frames.first > next) {
      this.#hold(frames)
    } else if (this.#contradicts(frames)) {
      // Either the ring and the pages are outdated, or a lost message is back. The store decides.
      this.#epoch = nextEpoch++
      this.#ring.clear(next)
      void this.sync()
    } else if (lastOf(frames) >= next) {
      this.#deliver(framesFrom(frames, next))
      return true
    }
    return false
  }

  // Whether known sequences have other bytes now: the log was rewound and gave them out again, or a
  // shard has recovered lost texts.
  #contradicts(frames: Frames): boolean {
    for (let seq = frames.first; seq <= Math.min(lastOf(frames), this.head); seq++) {
      const frame = frameAt(frames, seq)
      const known = this.#ring.frame(seq)
      if (
        known === undefined
          ? seq === this.head && frameMs(frame) !== this.#headMs
          : !known.equals(frame)
      ) {
        return true
      }
    }
    return false
  }

  #deliver(frames: Frames): void {
    this.heardAt = performance.now()
    this.#ring.push(frames)
    this.#headMs = frameMs(frameAt(frames, lastOf(frames)))
    this.#fanOut.push(frames, this.heardAt)
    this.#watch?.delivered(frames)
  }

  #hold(frames: Frames): void {
    if (!this.#early.add(frames)) this.#events.earlyFull()
    if (this.#isReady) this.#watchGap()
  }

  #watchGap(): void {
    if (this.#early.isEmpty || this.#gapTimer !== undefined) return
    this.#gapTimer = setTimeout(() => {
      this.#gapTimer = undefined
      if (this.#early.isEmpty) return
      this.#events.gap()
      void this.sync()
    }, this.#options.settings.gapWaitMs)
  }

  #releaseEarly(): void {
    for (const frames of this.#early.take(this.#ring.next)) this.#place(frames)
    this.#watchGap()
  }
}
