// Redis' wire protocol RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec/), for
// the connections that this project drives itself. Invariant: replies come out in the order in
// which their bytes went in, wherever the chunks are cut. Bytes that are not RESP2 throw; the
// connection is unusable after that, and its owner must close it.
import { ErrorReply } from '@redis/client'

/**
 * Bulk strings and simple strings are whatever the decoder makes of them. An error reply is a value
 * here, not an exception.
 */
export type Decoded<S> = S | number | null | ErrorReply | ReadonlyArray<Decoded<S>>

export type RawReply = Decoded<Buffer>

/** Redis' own limit for one string (proto-max-bulk-len). */
const BULK_BYTES_MAX = 512 * 1024 * 1024
/** Limit for an error, a status or a length; Redis' own limit for a line is 64 KiB too. */
const LINE_BYTES_MAX = 64 * 1024
const ARRAY_LENGTH_MAX = 1024 * 1024
const DEPTH_MAX = 8

const CR = 13
const CRLF = '\r\n'
const PLUS = 43
const MINUS = 45
const COLON = 58
const DOLLAR = 36
const STAR = 42
const ZERO = 48

/** Encodes a command. */
export function encodeCommand(args: readonly string[]): string {
  let text = `*${args.length}${CRLF}`
  for (const arg of args) text += `$${Buffer.byteLength(arg)}${CRLF}${arg}${CRLF}`
  return text
}

/** Makes a string of the bytes from `start` to `end`. */
type StringOf<S> = (bytes: Buffer, start: number, end: number) => S

/** An array whose elements have not all arrived yet. */
type Unfinished<S> = { readonly elements: Array<Decoded<S>>; readonly length: number }

/** Resumes where the last chunk ended, element by element: a long reply is parsed once. */
export class ReplyDecoder<S extends Buffer | string> {
  readonly #stringOf: StringOf<S>
  /** The beginning of an incomplete element. */
  #chunks: Buffer[] = []
  #length = 0
  /** The element cannot be complete before it has this many bytes. */
  #lengthNeeded = 0
  #bytes: Buffer = NO_BYTES
  #position = 0
  /** The outermost first. */
  readonly #unfinished: Array<Unfinished<S>> = []

  private constructor(stringOf: StringOf<S>) {
    this.#stringOf = stringOf
  }

  /** Decodes strings as UTF-8. */
  static ofTexts(): ReplyDecoder<string> {
    return new ReplyDecoder((bytes, start, end) => bytes.toString('utf8', start, end))
  }

  /** Leaves strings as bytes, which share memory with the chunk: copy what is kept for long. */
  static ofBytes(): ReplyDecoder<Buffer> {
    return new ReplyDecoder((bytes, start, end) => bytes.subarray(start, end))
  }

  /**
   * Takes the next bytes and returns the replies that they complete.
   * @throws Error when the bytes are not RESP2
   */
  take(chunk: Buffer): Array<Decoded<S>> {
    const replies: Array<Decoded<S>> = []
    this.#chunks.push(chunk)
    this.#length += chunk.length
    if (this.#length < this.#lengthNeeded) return replies
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#length)
    this.#bytes = bytes
    this.#position = 0
    this.#lengthNeeded = 0
    let start = 0
    while (start < bytes.length) {
      const element = this.#element()
      if (element === INCOMPLETE) break
      start = this.#position
      if (element !== OPENED) this.#finish(element, replies)
    }
    this.#bytes = NO_BYTES
    this.#length = bytes.length - start
    this.#chunks = this.#length > 0 ? [bytes.subarray(start)] : []
    if (this.#lengthNeeded > 0) this.#lengthNeeded -= start
    return replies
  }

  // An element may be the last one of its array, and that one of the next.
  #finish(element: Decoded<S>, replies: Array<Decoded<S>>): void {
    let finished = element
    for (;;) {
      const array = this.#unfinished.at(-1)
      if (array === undefined) {
        replies.push(finished)
        return
      }
      array.elements.push(finished)
      if (array.elements.length < array.length) return
      this.#unfinished.pop()
      finished = array.elements
    }
  }

  #element(): Decoded<S> | typeof INCOMPLETE | typeof OPENED {
    const bytes = this.#bytes
    const from = this.#position + 1
    const end = this.#endOfLine(from)
    if (end === undefined) return INCOMPLETE
    switch (bytes[from - 1]) {
      case COLON:
        return this.#integer(from, end, -Infinity, Infinity)
      case DOLLAR:
        return this.#bulk(this.#integer(from, end, -1, BULK_BYTES_MAX))
      case STAR:
        return this.#array(this.#integer(from, end, -1, ARRAY_LENGTH_MAX))
      case PLUS:
        return this.#stringOf(bytes, from, end)
      case MINUS:
        return new ErrorReply(bytes.toString('utf8', from, end))
      default:
        throw notRedis(bytes.subarray(from - 1))
    }
  }

  // Most lines have a few digits: a loop finds their end sooner than indexOf is called.
  #endOfLine(from: number): number | undefined {
    const bytes = this.#bytes
    let end = from
    while (end < bytes.length && bytes[end] !== CR) end++
    if (end - from > LINE_BYTES_MAX) throw notRedis(bytes.subarray(from - 1))
    if (end + 1 >= bytes.length) {
      this.#lengthNeeded = bytes.length + 1
      return undefined
    }
    this.#position = end + CRLF.length
    return end
  }

  #integer(from: number, end: number, min: number, max: number): number {
    const bytes = this.#bytes
    const isNegative = bytes[from] === MINUS
    const first = isNegative ? from + 1 : from
    let value = 0
    for (let at = first; at < end; at++) {
      const digit = (bytes[at] as number) - ZERO
      if (digit < 0 || digit > 9) throw notRedis(bytes.subarray(from - 1))
      value = value * 10 + digit
    }
    if (isNegative) value = -value
    if (end === first || value < min || value > max) throw notRedis(bytes.subarray(from - 1))
    return value
  }

  #bulk(length: number): S | null | typeof INCOMPLETE {
    if (length < 0) return null
    const start = this.#position
    const end = start + length
    if (end + CRLF.length > this.#bytes.length) {
      this.#lengthNeeded = end + CRLF.length
      return INCOMPLETE
    }
    this.#position = end + CRLF.length
    return this.#stringOf(this.#bytes, start, end)
  }

  #array(length: number): Array<Decoded<S>> | null | typeof OPENED {
    if (length < 0) return null
    if (this.#unfinished.length === DEPTH_MAX) throw notRedis(this.#bytes)
    const elements: Array<Decoded<S>> = []
    if (length === 0) return elements
    this.#unfinished.push({ elements, length })
    return OPENED
  }
}

const NO_BYTES = Buffer.alloc(0)
const INCOMPLETE = Symbol('incomplete')
/** The elements of an array follow. */
const OPENED = Symbol('opened')

function notRedis(bytes: Buffer): Error {
  return new Error(
    `The server does not speak Redis' protocol: ${JSON.stringify(bytes.toString('latin1', 0, 40))}`
  )
}
