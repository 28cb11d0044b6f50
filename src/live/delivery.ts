// Delivers a room's frames in this process: to the ring, to the live readers and to the watch.
// Invariant: frames are delivered in sequence order, each once. Frames that begin with the next
// sequence are delivered, and older ones are duplicates. Newer ones prove a gap: they wait until it
// closes, by itself or by a read from the store. Knows nothing of the store: what only the store
// can decide is an event for the owner.
import { frameAt, frameMs, framesFrom, lastOf, type Frames } from '../message/frame.js'
import { EarlyFrames } from './early-frames.js'
import { type FanOut } from './fan-out.js'
import { type Ring } from './ring.js'
import { type RoomWatch } from './room-watch.js'

export type DeliveryOptions = {
  /** Frames that may wait for the gap before them to close. */
  readonly earlyLengthMax: number
  /**
   * How long a gap may take to close by itself: publications of two writers can overtake each
   * other.
   */
  readonly gapWaitMs: number
}

export type DeliveryEvents = {
  /** A gap has not closed by itself: it has to be read from the store. */
  gap: () => void
  /** Frames were dropped because too many were waiting already. */
  earlyFull: () => void
  /** Frames differ from what was delivered with the same sequences: the store has to decide. */
  contradicted: () => void
}

/** Epochs are numbered over all rooms, so that pages read in different epochs are never mixed. */
let nextEpoch = 1

export class Delivery {
  /** When frames were last delivered or the log last read, by performance.now(). */
  heardAt = 0
  watch: RoomWatch | undefined
  readonly #ring: Ring
  readonly #fanOut: FanOut
  readonly #early: EarlyFrames
  readonly #gapWaitMs: number
  readonly #events: DeliveryEvents
  #headMs = 0
  #epoch = nextEpoch++
  #hasBegun = false
  #isClosed = false
  #gapTimer: NodeJS.Timeout | undefined

  constructor(ring: Ring, fanOut: FanOut, options: DeliveryOptions, events: DeliveryEvents) {
    this.#ring = ring
    this.#fanOut = fanOut
    this.#early = new EarlyFrames(options.earlyLengthMax)
    this.#gapWaitMs = options.gapWaitMs
    this.#events = events
  }

  /** The last sequence that was delivered. */
  get head(): number {
    return this.#ring.next - 1
  }

  /** The time of the head's entry; 0 in an empty room. */
  get headMs(): number {
    return this.#headMs
  }

  /**
   * Changes whenever something that was read of the room may be outdated: the log turned out to
   * have been rewound, or a message was changed. What was read in an earlier epoch is not used.
   */
  get epoch(): number {
    return this.#epoch
  }

  /** The room's head was read once. Until then, frames wait. */
  get hasBegun(): boolean {
    return this.#hasBegun
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /**
   * How far a gap may be read when the log ends at `head`. Everything before an early frame is
   * committed and published. What comes after the last early frame may not have reached a replica
   * yet, so reading stops there.
   */
  readableTo(head: number): number {
    return this.#early.isEmpty ? head : Math.min(head, this.#early.last)
  }

  /** The lowest sequence that waits for the gap before it to close; Infinity if there is none. */
  get earlyFirst(): number {
    return this.#early.first
  }

  /** The time of a delivered entry; undefined if it is not known any more. */
  msOf(seq: number): number | undefined {
    const frame = this.#ring.frame(seq)
    if (frame !== undefined) return frameMs(frame)
    return seq === this.head ? this.#headMs : undefined
  }

  /** Takes frames as they were published: late, twice, early or in order. */
  published(frames: Frames): void {
    // These frames are late: a later change of a message in them is here already. The gap that they
    // leave is read from the store, which has what the message says now.
    if (this.#early.hasLaterChange(frames)) return
    this.#forgetChanged(frames)
    if (this.#hasBegun) this.#accept(frames)
    else this.#hold(frames)
  }

  /** Takes frames that were read from the store because they were missing here. */
  fill(frames: Frames): void {
    this.#forgetChanged(frames)
    this.#accept(frames)
  }

  /** The log's head is known: delivery begins behind it. */
  begin(head: number, headMs: number): void {
    this.#ring.clear(head + 1)
    this.#headMs = headMs
    this.#hasBegun = true
    this.#releaseEarly()
  }

  /** What was delivered is void: delivery goes on behind this head. */
  restart(head: number, headMs: number): void {
    this.#epoch = nextEpoch++
    this.#early.clear()
    this.#ring.clear(head + 1)
    this.#headMs = headMs
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#gapTimer)
    this.#early.clear()
    this.#ring.clear(1)
  }

  // Forgets what changed messages said before. From here on nobody gets that: not from the ring,
  // not from a page that is kept or being read, not from a publication that waits for its gap to
  // close.
  #forgetChanged(frames: Frames): void {
    if (frames.changes === undefined) return
    this.#epoch = nextEpoch++
    for (const seq of frames.changes) {
      this.#ring.forget(seq)
      this.#early.forget(seq, lastOf(frames))
    }
  }

  #accept(frames: Frames): void {
    if (this.#deliverOrHold(frames) && !this.#early.isEmpty) this.#releaseEarly()
  }

  /** @returns whether the head has moved */
  #deliverOrHold(frames: Frames): boolean {
    // A read that began before the room was closed may still bring frames. A closed room's ring is
    // no longer counted in the budget.
    if (this.#isClosed) return false
    const { next } = this.#ring
    if (frames.first > next) {
      this.#hold(frames)
    } else if (this.#contradicts(frames)) {
      // Either the ring and the pages are outdated, or a lost message is back.
      this.#epoch = nextEpoch++
      this.#ring.clear(next)
      this.#events.contradicted()
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
    this.watch?.delivered(frames)
  }

  #hold(frames: Frames): void {
    if (!this.#early.add(frames)) this.#events.earlyFull()
    if (this.#hasBegun) this.#watchGap()
  }

  #watchGap(): void {
    if (this.#early.isEmpty || this.#gapTimer !== undefined) return
    this.#gapTimer = setTimeout(() => {
      this.#gapTimer = undefined
      if (!this.#early.isEmpty) this.#events.gap()
    }, this.#gapWaitMs)
  }

  #releaseEarly(): void {
    for (const frames of this.#early.take(this.#ring.next)) this.#deliverOrHold(frames)
    this.#watchGap()
  }
}
