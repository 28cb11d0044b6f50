// Counts the frames of one event stream without parsing them: a frame ends with an empty line, and
// after each end it skips as many bytes as the shortest frame has. Most bytes are never looked at,
// which leaves the processor to the measured service. Invariant: each frame is counted once,
// wherever the chunks are cut; heartbeats are not counted. Knows nothing about ids and texts.

const NEWLINE = 10
const HEAD_END = Buffer.from('\r\n\r\n')
/** The first bytes of this project's heartbeats. */
const PING = Buffer.from('event: ping\n')
const HEAD_BYTES_MAX = 65_536
/**
 * The shortest frame before the stream is live is `live` itself: an id, the event's name, a room
 * and its head.
 */
const BYTES_MIN_BEFORE_LIVE = 48

export type SseCounterOptions = {
  /** Bytes that prove that the reader is live. Unset: the end of the answer's head proves it. */
  readonly liveMark: string | undefined
  /** The least number of bytes in a message's frame, with its text. */
  readonly frameBytesMin: number
}

export class SseCounter {
  /** All frames, messages and others, except heartbeats. */
  frames = 0
  isLive = false
  readonly #mark: Buffer | undefined
  readonly #frameBytesMin: number
  #hasHead = false
  #before = Buffer.alloc(0)
  #skip = 0
  #last = 0
  /**
   * How many bytes of a heartbeat's beginning the current frame matches. All of them: it is a
   * heartbeat. -1: it is not.
   */
  #ping = 0

  constructor({ liveMark, frameBytesMin }: SseCounterOptions) {
    this.#mark = liveMark === undefined ? undefined : Buffer.from(liveMark)
    this.#frameBytesMin = frameBytesMin
  }

  /** @throws Error when the answer is not 200 */
  push(chunk: Buffer): void {
    if (!this.#hasHead) {
      const body = this.#takeHead(chunk)
      if (body === undefined) return
      chunk = body
    }
    const skipped = this.isLive
      ? this.#frameBytesMin
      : Math.min(this.#frameBytesMin, BYTES_MIN_BEFORE_LIVE)
    if (!this.isLive) this.#look(chunk)
    let at = this.#skip
    let last = this.#last
    let ping = this.#ping
    let frames = this.frames
    while (at < chunk.length) {
      if (ping >= 0 && ping < PING.length) {
        if (chunk[at] === PING[ping]) {
          ping++
          at++
          continue
        }
        // The first frame has no previous one from which to skip.
        at += frames === 0 ? 0 : Math.max(0, skipped - ping)
        ping = -1
        last = 0
        continue
      }
      const byte = chunk[at++] ?? 0
      if (byte !== NEWLINE || last !== NEWLINE) {
        last = byte
        continue
      }
      if (ping < 0) frames++
      last = 0
      ping = 0
    }
    this.#skip = at - chunk.length
    this.#last = last
    this.#ping = ping
    this.frames = frames
  }

  // The part of the chunk after the head, once the head is complete.
  #takeHead(chunk: Buffer): Buffer | undefined {
    const bytes = Buffer.concat([this.#before, chunk])
    const end = bytes.indexOf(HEAD_END)
    if (end < 0 && bytes.length < HEAD_BYTES_MAX) {
      this.#before = bytes
      return undefined
    }
    const status = bytes.toString('latin1', 0, bytes.indexOf(13))
    if (!status.startsWith('HTTP/1.1 200')) {
      throw new Error(`The stream was answered ${status.slice(9)}`)
    }
    this.#hasHead = true
    this.#before = Buffer.alloc(0)
    this.isLive = this.#mark === undefined
    return bytes.subarray(end + HEAD_END.length)
  }

  // The mark may be cut in two, so the end of the last chunk is kept.
  #look(chunk: Buffer): void {
    const mark = this.#mark
    if (mark === undefined) return
    const seam = Buffer.concat([this.#before, chunk.subarray(0, mark.length - 1)])
    this.isLive = chunk.includes(mark) || seam.includes(mark)
    this.#before = this.isLive
      ? Buffer.alloc(0)
      : Buffer.from((chunk.length >= mark.length ? chunk : seam).subarray(-(mark.length - 1)))
  }
}
