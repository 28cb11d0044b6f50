// One response that stays open: the socket of a reader, and why it ended. Invariant: holds at most
// `bytesMax` (or a socket's own high-water mark, if that is more) plus one batch of bytes that the
// client has not taken; a client that takes nothing for a whole deadline is ended, and an ended one
// is gone within seconds. Writes to the socket itself, behind the response's head: no framing is
// left to do, and the same buffer goes to every socket. Knows nothing of rooms.
import { type Socket } from 'node:net'
import { Stall } from './stall.js'

/** Why a stream ended. The same words are the metric's labels. */
export type EndReason = 'client-closed' | 'stalled' | 'stopping' | 'failed'

/** How long a client may take for its farewell, and to close its side. */
const FAREWELL_MS = 5000

export type StreamOptions = {
  readonly bytesMax: number
  /** The time after which a client comes back by itself. */
  readonly retryMs: number
}

/**
 * Clients that all have to come back do so after one to this many times their retry time: not in
 * one moment.
 */
const RETRY_SPREAD = 5

/** Tells a client to come back after a time of its own. */
export const laterFrame = (retryMs: number): string =>
  `retry: ${Math.ceil(Math.max(1, retryMs) * (1 + (RETRY_SPREAD - 1) * Math.random()))}\n\n`

export class Stream {
  readonly #socket: Socket
  readonly #options: StreamOptions
  readonly #onEnd: (reason: EndReason) => void
  #hasEnded = false
  #waiting: Array<() => void> = []
  readonly #stall: Stall
  #writtenAt = performance.now()

  constructor(socket: Socket, options: StreamOptions, onEnd: (reason: EndReason) => void) {
    this.#socket = socket
    this.#options = options
    this.#onEnd = onEnd
    this.#stall = new Stall(socket)
    socket.setNoDelay(true)
    socket.setTimeout(0)
    socket.on('drain', () => {
      this.#writtenAt = performance.now()
      this.#release()
    })
    socket.on('close', () => {
      this.end('client-closed')
    })
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** The client does not take what it is sent as fast as it comes: hold back until `drained`. */
  get isFull(): boolean {
    // Only where a 'drain' will follow: from Node 22 on a socket may hold more than `bytesMax`
    // without one.
    return this.#socket.writableNeedDrain && this.#socket.writableLength >= this.#options.bytesMax
  }

  /** When bytes last went out to the client, on the clock of performance.now(). */
  get writtenAt(): number {
    return this.#writtenAt
  }

  write(bytes: Buffer | string): void {
    if (this.#hasEnded) return
    this.#writtenAt = performance.now()
    this.#socket.write(bytes)
  }

  /**
   * Resolves when the client has taken everything, or the stream has ended; at once when it is not
   * full.
   */
  async drained(): Promise<void> {
    if (this.#hasEnded || !this.isFull) return
    await new Promise<void>(resolve => {
      this.#waiting.push(resolve)
    })
  }

  /** As `drained`, but waits only so long; answers whether it is. */
  async drainedWithin(ms: number): Promise<boolean> {
    if (this.#hasEnded || !this.isFull) return true
    return await new Promise<boolean>(resolve => {
      const timer = setTimeout(resolve, ms, false)
      this.#waiting.push(() => {
        clearTimeout(timer)
        resolve(true)
      })
    })
  }

  /** How long the client has taken nothing of what waits for it, in ms; 0 when nothing waits. */
  stalledMs(now: number): number {
    return this.#stall.ms(now)
  }

  /**
   * Ends the stream once; later calls do nothing. A stalled client is cut off, any other has some
   * seconds for what is on its way.
   */
  end(reason: EndReason, farewell = ''): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    if (reason === 'stalled' || reason === 'client-closed') this.#socket.destroy()
    else this.#takeLeave(farewell)
    this.#release()
    this.#onEnd(reason)
  }

  /**
   * Ends the stream because the service cannot go on with it; the client comes back later with its
   * cursor.
   */
  fail(): void {
    this.end('failed', laterFrame(this.#options.retryMs))
  }

  // Ended is only our side: a client that does not read, or is gone without a word, would keep the
  // socket for ever, counted by nobody.
  #takeLeave(farewell: string): void {
    this.#socket.end(farewell)
    const timer = setTimeout(() => {
      this.#socket.destroy()
    }, FAREWELL_MS).unref()
    this.#socket.once('close', () => {
      clearTimeout(timer)
    })
  }

  #release(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}
