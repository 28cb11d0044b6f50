// Frames that arrived early: the gap before them is still open. Their number is limited. A frame
// that does not fit is dropped, because the read that closes the gap can bring it as well.
// Invariant: what was dropped counts as waiting until the room has reached it.
import { lastOf, hasTextOf, type Frames } from '../message/frame.js'

export class EarlyFrames {
  readonly #lengthMax: number
  #groups: Frames[] = []
  #length = 0
  /** The highest sequence that was dropped and is still to come; -Infinity if there is none. */
  #droppedTo = -Infinity
  /** The same of frames that were dropped and tell of changes. */
  #droppedChangesTo = -Infinity

  constructor(lengthMax: number) {
    this.#lengthMax = lengthMax
  }

  /** Whether nothing is held, and nothing that was dropped is still to come. */
  get isEmpty(): boolean {
    return this.#groups.length === 0 && this.#droppedTo === -Infinity
  }

  /** The lowest sequence held; Infinity if there is none. */
  get first(): number {
    return this.#groups.reduce((least, { first }) => Math.min(least, first), Infinity)
  }

  /** The highest sequence that arrived; -Infinity if there is none. */
  get last(): number {
    return this.#groups.reduce((most, frames) => Math.max(most, lastOf(frames)), this.#droppedTo)
  }

  /** @returns whether there was room for them */
  add(frames: Frames): boolean {
    if (this.#length + frames.ends.length > this.#lengthMax) {
      this.#droppedTo = Math.max(this.#droppedTo, lastOf(frames))
      if (frames.changes !== undefined) {
        this.#droppedChangesTo = Math.max(this.#droppedChangesTo, lastOf(frames))
      }
      return false
    }
    this.#groups.push(frames)
    this.#length += frames.ends.length
    return true
  }

  /** Removes and returns, in order, all groups that follow on from `next` without a gap. */
  take(next: number): Frames[] {
    const ripe: Frames[] = []
    const early: Frames[] = []
    let reached = next
    for (const frames of this.#groups.sort((a, b) => a.first - b.first)) {
      if (frames.first > reached) {
        early.push(frames)
        continue
      }
      ripe.push(frames)
      this.#length -= frames.ends.length
      reached = Math.max(reached, lastOf(frames) + 1)
    }
    this.#groups = early
    if (this.#droppedTo < reached) this.#droppedTo = -Infinity
    if (this.#droppedChangesTo < reached) this.#droppedChangesTo = -Infinity
    return ripe
  }

  /** Drops what an earlier group says about a message, because the group at `before` changes it. */
  forget(seq: number, before: number): void {
    this.#groups = this.#groups.filter(frames => frames.first >= before || !hasTextOf(frames, seq))
    this.#length = this.#groups.reduce((sum, { ends }) => sum + ends.length, 0)
  }

  /**
   * Whether a change waits here that was made after these frames, to a message in them. If a later
   * change was dropped, it may have been such a change.
   */
  hasLaterChange(frames: Frames): boolean {
    return (
      frames.first < this.#droppedChangesTo ||
      this.#groups.some(
        ({ first, changes = [] }) =>
          first > frames.first && changes.some(seq => hasTextOf(frames, seq))
      )
    )
  }

  clear(): void {
    this.#groups = []
    this.#length = 0
    this.#droppedTo = -Infinity
    this.#droppedChangesTo = -Infinity
  }
}
