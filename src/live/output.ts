// How a reader's frames are written to its stream: unchanged if the stream has one room; otherwise
// with an id that combines the cursors of all its rooms. Invariant: a client that has a frame and
// everything before it on the stream can resume from that frame's id.
import { type Frames } from '../message/frame.js'
import { eventFrame, frameAt, lastOf, passingFrame } from '../message/frame.js'
import { type Stream } from './stream.js'

/** Consecutive frames, with their bytes in one buffer. */
export type Batch = {
  readonly first: number
  readonly bytes: Buffer
  readonly groups: readonly Frames[]
}

export const batchOf = (frames: Frames): Batch => ({
  first: frames.first,
  bytes: frames.bytes,
  groups: [frames]
})

/** What readers and outputs need of a stream. */
export type ReaderStream = Pick<
  Stream,
  'isFull' | 'hasEnded' | 'write' | 'writeIfIdle' | 'drained' | 'drainedWithin' | 'fail'
>

export type Output = {
  readonly stream: ReaderStream
  frames: (batch: Batch) => void
  event: (event: 'live' | 'reset', cursor: string, data: object) => void
  /** An event without an id: a client cannot resume from it. */
  passing: (event: 'behind', data: object) => void
}

export class SingleOutput implements Output {
  readonly stream: ReaderStream

  constructor(stream: ReaderStream) {
    this.stream = stream
  }

  frames(batch: Batch): void {
    this.stream.write(batch.bytes)
  }

  event(event: 'live' | 'reset', cursor: string, data: object): void {
    this.stream.write(eventFrame(event, cursor, data))
  }

  passing(event: 'behind', data: object): void {
    this.stream.write(passingFrame(event, data))
  }
}

/** The cursors of a stream of several rooms, in the order in which the request named them. */
export class CombinedCursor {
  readonly #cursors: string[]

  constructor(cursors: readonly string[]) {
    this.#cursors = [...cursors]
  }

  set(index: number, cursor: string): string {
    this.#cursors[index] = cursor
    return this.#cursors.join(',')
  }
}

export class CombinedOutput implements Output {
  readonly stream: ReaderStream
  readonly #cursor: CombinedCursor
  readonly #index: number

  constructor(stream: ReaderStream, cursor: CombinedCursor, index: number) {
    this.stream = stream
    this.#cursor = cursor
    this.#index = index
  }

  frames(batch: Batch): void {
    const parts: Array<string | Buffer> = []
    for (const frames of batch.groups) {
      for (let seq = frames.first; seq <= lastOf(frames); seq++) {
        const frame = frameAt(frames, seq)
        // Every frame begins with the line `id: <cursor>`.
        const newline = frame.indexOf(10)
        parts.push(
          `id: ${this.#cursor.set(this.#index, frame.toString('latin1', 4, newline))}`,
          frame.subarray(newline)
        )
      }
    }
    this.stream.write(
      Buffer.concat(parts.map(part => (typeof part === 'string' ? Buffer.from(part) : part)))
    )
  }

  event(event: 'live' | 'reset', cursor: string, data: object): void {
    this.stream.write(eventFrame(event, this.#cursor.set(this.#index, cursor), data))
  }

  passing(event: 'behind', data: object): void {
    this.stream.write(passingFrame(event, data))
  }
}
