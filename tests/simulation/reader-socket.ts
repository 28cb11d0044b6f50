// A reader's socket as the service writes to it. Bytes wait here until the reader takes them, at
// its own pace.
import { EventEmitter } from 'node:events'
import { type Socket } from 'node:net'
import { type Owner, type VirtualTime } from './virtual-time.js'

export type ReaderEnd = {
  /** The service has written this much at once. */
  written: (bytes: Buffer) => void
  receive: (bytes: Buffer) => void
  closed: () => void
}

const HIGH_WATER_MARK = 16 * 1024
const TURN_MS = 0.1
const SLOW_TURN_MS = 20

export class ReaderSocket extends EventEmitter {
  writableLength = 0
  writableNeedDrain = false
  bytesWritten = 0
  /** Nothing passes any more, and nobody is told. */
  isSilent = false
  readonly #time: VirtualTime
  readonly #reader: Owner
  readonly #bytesPerMs: number
  readonly #highWaterMark: number
  readonly #end: ReaderEnd
  readonly #waiting: Buffer[] = []
  #isTaking = false
  #isEnding = false
  #isClosed = false

  constructor(time: VirtualTime, reader: Owner, bytesPerMs: number, end: ReaderEnd) {
    super()
    this.#time = time
    this.#reader = reader
    this.#bytesPerMs = bytesPerMs
    this.#highWaterMark = bytesPerMs === Infinity ? HIGH_WATER_MARK : 64
    this.#end = end
  }

  /** It has the members that Stream and Stall use. */
  get asNodes(): Socket {
    return this as unknown as Socket
  }

  write(data: Buffer | string): boolean {
    if (this.#isClosed || this.#isEnding) return false
    const bytes = typeof data === 'string' ? Buffer.from(data) : data
    this.#end.written(bytes)
    this.#waiting.push(bytes)
    this.writableLength += bytes.length
    this.bytesWritten += bytes.length
    if (this.writableLength >= this.#highWaterMark) this.writableNeedDrain = true
    this.#takeSoon()
    return !this.writableNeedDrain
  }

  end(data?: string): this {
    if (data !== undefined && data !== '') this.write(data)
    this.#isEnding = true
    this.#takeSoon()
    return this
  }

  destroy(): this {
    if (this.#isClosed) return this
    this.#isClosed = true
    this.#waiting.length = 0
    process.nextTick(() => {
      this.emit('close')
    })
    if (!this.isSilent) {
      this.#time.after(
        TURN_MS,
        () => {
          this.#end.closed()
        },
        this.#reader
      )
    }
    return this
  }

  /**
   * The reader, or something in between, has closed the connection. Called on the service's side.
   */
  hangUp(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.emit('close')
  }

  setNoDelay(): this {
    return this
  }
  setTimeout(): this {
    return this
  }

  #takeSoon(): void {
    if (this.#isTaking || this.isSilent) return
    const [first] = this.#waiting
    if (first === undefined) {
      if (this.#isEnding) {
        this.#time.after(TURN_MS, () => {
          this.destroy()
        })
      }
      return
    }
    this.#isTaking = true
    this.#time.after(this.#bytesPerMs === Infinity ? TURN_MS : SLOW_TURN_MS, () => {
      this.#take()
    })
  }

  #take(): void {
    this.#isTaking = false
    if (this.isSilent || this.#isClosed) return
    // A fast reader takes everything that waits.
    const taken = this.#bytesPerMs === Infinity ? this.#waiting.splice(0) : [this.#sip()]
    for (const bytes of taken) {
      this.writableLength -= bytes.length
      this.#time.after(
        TURN_MS,
        () => {
          this.#end.receive(bytes)
        },
        this.#reader
      )
    }
    if (this.writableNeedDrain && this.writableLength === 0) {
      this.writableNeedDrain = false
      this.emit('drain')
    }
    this.#takeSoon()
  }

  #sip(): Buffer {
    const first = this.#waiting.shift() as Buffer
    const length = Math.ceil(this.#bytesPerMs * SLOW_TURN_MS)
    if (first.length > length) this.#waiting.unshift(first.subarray(length))
    return first.subarray(0, length)
  }
}
