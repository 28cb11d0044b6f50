// Redis' wire protocol RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec/), for
// the connections that this project drives itself. Invariant: replies come out in the order in
// which their bytes went in, wherever the chunks are cut. Bytes that are not RESP2 make it throw;
// after that the connection is unusable, and its owner must close it.
import { ErrorReply } from 'redis'

/**
 * Bulk strings and simple strings are buffers. An error reply is a value here, not an exception.
 */
export type RawReply = Buffer | number | null | ErrorReply | readonly RawReply[]

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

/** Encodes a command. */
export function encodeCommand(args: readonly string[]): string {
  let text = `*${args.length}${CRLF}`
  for (const arg of args) text += `$${Buffer.byteLength(arg)}${CRLF}${arg}${CRLF}`
  return text
}

export class ReplyDecoder {
  /** The beginning of an incomplete reply. */
  #chunks: Buffer[] = []
  #length = 0
  /**
   * The reply cannot be complete before there are this many bytes. This saves parsing a large reply
   * again for each chunk.
   */
  #lengthNeeded = 0

  /**
   * Takes the next bytes and returns the replies that they complete. Buffers in the replies share
   * memory with the chunk: copy what is kept for long.
   * @throws Error when the bytes are not RESP2
   */
  take(chunk: Buffer): RawReply[] {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    const replies: RawReply[] = []
    if (this.#length < this.#lengthNeeded) return replies
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#length)
    const reading = new Reading(bytes)
    let start = 0
    while (start < bytes.length) {
      const reply = reading.reply(0)
      if (reply === INCOMPLETE) break
      start = reading.position
      replies.push(reply)
    }
    this.#chunks = start < bytes.length ? [bytes.subarray(start)] : []
    this.#length = bytes.length - start
    this.#lengthNeeded = reading.lengthNeeded - start
    return replies
  }
}

const INCOMPLETE = Symbol('incomplete')

/** One pass over the bytes at hand. */
class Reading {
  readonly #bytes: Buffer
  position = 0
  /** After INCOMPLETE: the number of bytes below which another try is pointless. */
  lengthNeeded = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  reply(depth: number): RawReply | typeof INCOMPLETE {
    const kind = this.#bytes[this.position]
    const line = this.#line()
    if (line === undefined) return INCOMPLETE
    switch (kind) {
      case PLUS:
        return line
      case MINUS:
        return new ErrorReply(line.toString())
      case COLON:
        return integer(line, -Infinity, Infinity)
      case DOLLAR:
        return this.#bulk(integer(line, -1, BULK_BYTES_MAX))
      case STAR:
        return this.#array(integer(line, -1, ARRAY_LENGTH_MAX), depth)
      default:
        throw notRedis(this.#bytes)
    }
  }

  // The next line, without its first byte and its CRLF; undefined if it is not complete yet.
  #line(): Buffer | undefined {
    const from = this.position + 1
    const end = this.#bytes.indexOf(CR, from)
    if ((end < 0 ? this.#bytes.length : end) - from > LINE_BYTES_MAX) throw notRedis(this.#bytes)
    if (end < 0 || end + 1 >= this.#bytes.length) {
      this.lengthNeeded = this.#bytes.length + 1
      return undefined
    }
    this.position = end + CRLF.length
    return this.#bytes.subarray(from, end)
  }

  #bulk(length: number): Buffer | null | typeof INCOMPLETE {
    if (length < 0) return null
    const end = this.position + length
    if (end + CRLF.length > this.#bytes.length) {
      this.lengthNeeded = end + CRLF.length
      return INCOMPLETE
    }
    const bytes = this.#bytes.subarray(this.position, end)
    this.position = end + CRLF.length
    return bytes
  }

  #array(length: number, depth: number): RawReply[] | null | typeof INCOMPLETE {
    if (length < 0) return null
    if (depth === DEPTH_MAX) throw notRedis(this.#bytes)
    const replies: RawReply[] = []
    while (replies.length < length) {
      if (this.position >= this.#bytes.length) {
        this.lengthNeeded = this.#bytes.length + 1
        return INCOMPLETE
      }
      const reply = this.reply(depth + 1)
      if (reply === INCOMPLETE) return INCOMPLETE
      replies.push(reply)
    }
    return replies
  }
}

function integer(line: Buffer, min: number, max: number): number {
  const text = line.toString('latin1')
  const value = Number(text)
  if (!/^-?\d+$/.test(text) || value < min || value > max) throw notRedis(line)
  return value
}

function notRedis(bytes: Buffer): Error {
  return new Error(
    `The server does not speak Redis' protocol: ${JSON.stringify(bytes.toString('latin1', 0, 40))}`
  )
}
