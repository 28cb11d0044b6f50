// One response that stays open: a reader's socket, and why it ended. Invariant: at most `bytesMax`
// (or the socket's own high-water mark, if that is higher) plus one batch of bytes wait for the
// client. A client that takes nothing for too long is disconnected, and a stream that has ended is
// gone within seconds. Frames are written straight to the socket after the response's head, so the
// same buffer goes to every socket. Knows nothing of rooms.
import { type Socket } from 'node:net'
import { type LoopSlices } from '../loop-slices.js'
import { Stall } from './stall.js'

/** Why a stream ended. The same words are the metric's labels. */
export type EndReason = 'client-closed' | 'stalled' | 'stopping' | 'failed' | 'expired' | 'removed'

const isOfRights = (reason: EndReason): boolean => reason === 'expired' || reason === 'removed'

/** How long a client may take to receive the last bytes and to close its side of the connection. */
const FAREWELL_MS = 5000

export type StreamOptions = {
  readonly bytesMax: number
  /** The time after which a client reconnects by itself. */
  readonly retryMs: number
}

/** Clients that must reconnect do so after one to five times their retry time, not all at once. */
const RETRY_SPREAD = 5

/** Tells a client to come back later, after a random time. */
export const laterFrame = (retryMs: number): string =>
  `retry: ${Math.ceil(Math.max(1, retryMs) * (1 + (RETRY_SPREAD - 1) * Math.random()))}\n\n`

export class Stream {
  readonly #socket: Socket
  readonly #options: StreamOptions
  readonly #onEnd: (reason: EndReason) => void
  #hasEnded = false
  /** It ends soon, and nothing more is written. */
  #isSilent = false
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

  /** The client takes bytes more slowly than they come: hold back until `drained`. */
  get isFull(): boolean {
    // Only if a 'drain' event will follow: since Node 22 a socket may hold more than `bytesMax`
    // without one.
    return this.#socket.writableNeedDrain && this.#socket.writableLength >= this.#options.bytesMax
  }

  /** When bytes last went out to the client, on the clock of performance.now(). */
  get writtenAt(): number {
    return this.#writtenAt
  }

  write(bytes: Buffer | string): void {
    if (this.#hasEnded || this.#isSilent) return
    this.#writtenAt = performance.now()
    this.#socket.write(bytes)
  }

  /**
   * Writes bytes that may be dropped: they go out only if the client has taken everything so far.
   * They do not put off the next heartbeat, because a client may not listen for them.
   */
  writeIfIdle(bytes: Buffer): void {
    if (this.#hasEnded || this.#isSilent || this.#socket.writableLength > 0) return
    this.#socket.write(bytes)
  }

  /**
   * Resolves when the client has taken everything or the stream has ended; at once if the stream is
   * not full.
   */
  async drained(): Promise<void> {
    if (this.#hasEnded || !this.isFull) return
    await new Promise<void>(resolve => {
      this.#waiting.push(resolve)
    })
  }

  /** As `drained`, but waits at most `ms`. Returns whether it has drained. */
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

  /** For how many ms the client has taken none of the waiting bytes; 0 if none are waiting. */
  stalledMs(now: number): number {
    return this.#stall.ms(now)
  }

  /**
   * Ends the stream; later calls do nothing. A stalled client is cut off. Any other client has a
   * few seconds to receive what is on its way, and the farewell. If its right has ended, what waits
   * here must not be sent any more. Then the connection is reset, so that the operating system also
   * drops what it still holds.
   */
  end(reason: EndReason, farewell = ''): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    if (reason === 'stalled' || reason === 'client-closed') this.#socket.destroy()
    else if (isOfRights(reason) && this.#socket.writableLength > 0) this.#socket.resetAndDestroy()
    else this.#takeLeave(farewell)
    this.#release()
    this.#onEnd(reason)
  }

  /**
   * As `end`, for a right that has ended: at once nothing more is written, and what waits is thrown
   * away. Closing a connection takes much longer than that, and a right may end for thousands of
   * streams in the same moment, so connections without waiting bytes are closed in `slices`.
   */
  endSoon(reason: 'expired' | 'removed', farewell: string, slices: Pick<LoopSlices, 'add'>): void {
    if (this.#hasEnded || this.#isSilent) return
    this.#isSilent = true
    if (this.#socket.writableLength > 0) this.end(reason)
    else {
      slices.add(() => {
        this.end(reason, farewell)
      })
    }
  }

  /**
   * Ends the stream because the service cannot continue it. The client comes back later with its
   * cursor.
   */
  fail(): void {
    this.end('failed', laterFrame(this.#options.retryMs))
  }

  // Only our side is closed here. A client that does not read, or has vanished, would keep the
  // socket for ever, and nothing would count it.
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
