// Writing a room's new frames to all of its live readers. Invariant: every live reader gets each
// frame once, in the order in which the frames were pushed. Frames that arrive in one turn are one
// write for each reader. In a room of thousands of readers that write takes milliseconds; the next
// one then waits for as long as the last one took, so that half of the time is left for everything
// else, and more frames go into one write.
import { type Frames } from '../message/frame.js'
import { batchOf, type Batch } from './output.js'

/** What a room needs of its readers. */
export type RoomReader = {
  /** Takes frames that follow what the reader has. Called only while the reader is live. */
  deliver: (batch: Batch) => void
  /** The history that the reader has is void: it starts over. */
  reset: (reason: ResetReason) => void
}

/**
 * Why a reader has to start over: its cursor is beyond the head, the log has another message there,
 * or the log has become shorter.
 */
export type ResetReason = 'beyond-head' | 'rewritten' | 'rewound'

export class FanOut {
  readonly #live = new Set<RoomReader>()
  #unsent: Frames[] = []
  /** When the last write to all live readers was done, and how long it took. */
  #flushedAt = 0
  #flushMs = 0

  add(reader: RoomReader): void {
    this.#live.add(reader)
  }

  remove(reader: RoomReader): void {
    this.#live.delete(reader)
  }

  push(frames: Frames, now: number): void {
    if (this.#unsent.push(frames) > 1) return
    const waitMs = this.#flushedAt + this.#flushMs - now
    if (waitMs < 1) {
      setImmediate(() => {
        this.flush()
      })
    } else {
      setTimeout(() => {
        this.flush()
      }, waitMs)
    }
  }

  /** Writes at once what waits to be written. */
  flush(): void {
    const [first] = this.#unsent
    if (first === undefined) return
    const batch: Batch =
      this.#unsent.length === 1
        ? batchOf(first)
        : {
            first: first.first,
            bytes: Buffer.concat(this.#unsent.map(({ bytes }) => bytes)),
            groups: this.#unsent
          }
    this.#unsent = []
    const begunAt = performance.now()
    for (const reader of this.#live) reader.deliver(batch)
    this.#flushedAt = performance.now()
    this.#flushMs = this.#flushedAt - begunAt
  }
}
