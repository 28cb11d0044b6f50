// Writes a room's new frames to all of its live readers. Invariant: every live reader gets each
// frame once, in the order in which the frames were pushed. Frames that arrive in the same turn
// become one write per reader. In a room of thousands of readers a round of writes takes
// milliseconds. The next round then waits as long as the last one took, which leaves half of the
// time for everything else and collects more frames per write.
import { type Frames } from '../message/frame.js'
import { batchOf, type Batch } from './output.js'

/** What a room needs of its readers. */
export type RoomReader = {
  /** Takes frames that follow what the reader has. Called only while the reader is live. */
  deliver: (batch: Batch) => void
  /** Takes a signal, or drops it. Called only while the reader is live. */
  signal: (frame: Buffer) => void
  /** The reader's history is void, so it starts over. */
  reset: (reason: ResetReason) => void
  /** The room may have messages that this process cannot read. Called once until it can again. */
  fallBehind: () => void
}

/**
 * Why a reader has to start over: its cursor is beyond the head, the log has another message at
 * that sequence, the log has become shorter, or what comes after the cursor is gone because the
 * room was deleted or its messages have expired.
 */
export type ResetReason = 'beyond-head' | 'rewritten' | 'rewound' | 'deleted' | 'trimmed'

export class FanOut {
  readonly #live = new Set<RoomReader>()
  #unsent: Frames[] = []
  /** When the last round of writes ended, and how long it took. */
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

  /** Hands a signal to all live readers at once: it has no place among the frames. */
  signal(frame: Buffer): void {
    for (const reader of this.#live) reader.signal(frame)
  }

  /** Writes at once what is waiting to be written. */
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
