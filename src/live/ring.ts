// The newest frames of a room, for readers that are a little behind.
//
//    [ first ……… next )    next is the room's next sequence; older messages are in the store
//
// Invariant: the sequences in the ring are consecutive and end right before `next`. Bounded by
// frames and bytes, and all rings of the process together by a budget. At a limit, the oldest
// frames go.
import { frameAt, lastOf, hasTextOf, type Frames } from '../message/frame.js'

export type RingOptions = { readonly ringLengthMax: number; readonly ringBytesMax: number }

/** The bytes that all rings of the process hold together. */
export class RingBudget {
  readonly bytesMax: number
  readonly onEvict: () => void
  bytes = 0

  constructor(bytesMax: number, onEvict: () => void) {
    this.bytesMax = bytesMax
    this.onEvict = onEvict
  }
}

export class Ring {
  readonly #options: RingOptions
  readonly #budget: RingBudget
  // Groups of frames as they arrived, oldest first. A group is removed as a whole, because a slice
  // would keep all of its bytes alive.
  #groups: Frames[] = []
  #bytes = 0
  #next: number

  constructor(next: number, options: RingOptions, budget: RingBudget) {
    this.#next = next
    this.#options = options
    this.#budget = budget
  }

  /** The oldest sequence in the ring; `next` if it is empty. */
  get first(): number {
    return this.#groups[0]?.first ?? this.#next
  }

  get next(): number {
    return this.#next
  }

  /** Adds frames that begin at `next`. */
  push(frames: Frames): void {
    if (frames.first !== this.#next) {
      throw new Error(`Frames from ${frames.first} do not follow ${this.#next - 1}`)
    }
    this.#groups.push(frames)
    this.#next = lastOf(frames) + 1
    this.#account(frames.bytes.length)
    this.#trim()
  }

  /**
   * Adds frames that end right before `first`, if they fit: what one late reader has fetched,
   * others are likely to need too.
   */
  pushOlder(frames: Frames): void {
    const isFitting =
      lastOf(frames) + 1 === this.first &&
      this.#next - frames.first <= this.#options.ringLengthMax &&
      this.#bytes + frames.bytes.length <= this.#options.ringBytesMax &&
      this.#budget.bytes + frames.bytes.length <= this.#budget.bytesMax
    if (!isFitting) return
    this.#groups.unshift(frames)
    this.#account(frames.bytes.length)
  }

  /** The group of frames that contains a sequence; undefined if the ring does not have it. */
  groupOf(seq: number): Frames | undefined {
    if (seq < this.first || seq >= this.#next) return undefined
    // From the newest, because most readers are only a little behind.
    return this.#groups.findLast(({ first }) => first <= seq)
  }

  frame(seq: number): Buffer | undefined {
    const group = this.groupOf(seq)
    return group === undefined ? undefined : frameAt(group, seq)
  }

  /**
   * Forgets what a message said: drops the group that holds it, the groups that tell of its
   * changes, and all older groups.
   */
  forget(seq: number): void {
    const outdated = this.#groups.findLastIndex(frames => hasTextOf(frames, seq))
    const forgotten = this.#groups.splice(0, outdated + 1)
    this.#account(-forgotten.reduce((sum, { bytes }) => sum + bytes.length, 0))
  }

  /** Forgets the groups that end before a sequence. */
  forgetBefore(seq: number): void {
    const kept = this.#groups.findIndex(frames => lastOf(frames) >= seq)
    const forgotten = this.#groups.splice(0, kept < 0 ? this.#groups.length : kept)
    this.#account(-forgotten.reduce((sum, { bytes }) => sum + bytes.length, 0))
  }

  /** Empties the ring and continues at `next`. */
  clear(next: number): void {
    this.#account(-this.#bytes)
    this.#groups = []
    this.#next = next
  }

  #trim(): void {
    const { ringLengthMax, ringBytesMax } = this.#options
    let kept = 0
    let bytes = this.#bytes
    while (
      kept < this.#groups.length - 1 &&
      (this.#next - (this.#groups[kept]?.first ?? 0) > ringLengthMax ||
        bytes > ringBytesMax ||
        this.#isOverBudget(bytes))
    ) {
      bytes -= this.#groups[kept]?.bytes.length ?? 0
      kept++
    }
    if (kept === 0) return
    this.#groups.splice(0, kept)
    this.#account(bytes - this.#bytes)
    this.#budget.onEvict()
  }

  #isOverBudget(bytes: number): boolean {
    return this.#budget.bytes - this.#bytes + bytes > this.#budget.bytesMax
  }

  #account(bytes: number): void {
    this.#bytes += bytes
    this.#budget.bytes += bytes
  }
}
