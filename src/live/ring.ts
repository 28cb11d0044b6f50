// The newest frames of a room, for readers that are a little behind.
//
// frames   [ first ……………………… next )      next is the room's next sequence; what is older than first
// is in the store
//
// Invariant: the sequences in the ring are consecutive and end right before `next`. Bounded by
// frames and bytes, and all rings together by a budget; at a limit the oldest frames go.
import { frameAt, lastOf, type Frames } from '../message/frame.js'

export type RingOptions = { readonly ringLengthMax: number; readonly ringBytesMax: number }

/** What all rings of the process hold together. */
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
  // Groups of frames as they came, oldest first. A group goes as a whole: a slice would keep all of
  // its bytes alive anyway.
  #groups: Frames[] = []
  #bytes = 0
  #next: number

  constructor(next: number, options: RingOptions, budget: RingBudget) {
    this.#next = next
    this.#options = options
    this.#budget = budget
  }

  /** The oldest sequence that it holds; `next` when it is empty. */
  get first(): number {
    return this.#groups[0]?.first ?? this.#next
  }

  get next(): number {
    return this.#next
  }

  /** Adds frames that begin with `next`. */
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
   * Takes frames that end right before `first`, if there is room: what one late reader has fetched,
   * the next ones need too.
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

  /** The group of frames that holds a sequence, or undefined when it is not in the ring. */
  groupOf(seq: number): Frames | undefined {
    if (seq < this.first || seq >= this.#next) return undefined
    // From the newest: whoever is served here is mostly only a little behind.
    return this.#groups.findLast(({ first }) => first <= seq)
  }

  frame(seq: number): Buffer | undefined {
    const group = this.groupOf(seq)
    return group === undefined ? undefined : frameAt(group, seq)
  }

  /** Forgets everything, and goes on at `next`. */
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
