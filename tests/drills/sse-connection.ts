// One connection to an event stream at the least cost for a drill: a plain socket, a hand-written
// request, and frames as slices of the received bytes. It can be cut, and it can read slowly.
// Understands only what this service sends (no chunked body). Does not reconnect, and does not know
// what frames mean.
import net from 'node:net'

export type SseHandlers = {
  onOpen: () => void
  /** A frame without its last line break. The buffer is valid only during the call. */
  onFrame: (frame: Buffer) => void
  /** Called once. */
  onEnd: (reason: string) => void
}

const HEAD_END = Buffer.from('\r\n\r\n')
const FRAME_END = Buffer.from('\n\n')
const HEAD_BYTES_MAX = 65_536
const SLOW_TICK_MS = 100

// A read fills the buffer and hands it over in the same turn, so one buffer serves all sockets.
const shared = Buffer.allocUnsafeSlow(65_536)

export class SseConnection {
  readonly #socket: net.Socket
  readonly #handlers: SseHandlers
  #rest = Buffer.alloc(0)
  #isOpen = false
  #hasEnded = false
  #slow: { readonly buffer: Buffer; readonly timer: NodeJS.Timeout } | undefined

  /** @param bytesPerSecond the most that is read; default: everything as it arrives; 0: nothing */
  constructor(
    url: URL,
    headers: Readonly<Record<string, string>>,
    handlers: SseHandlers,
    bytesPerSecond?: number
  ) {
    this.#handlers = handlers
    if (bytesPerSecond !== undefined) this.throttle(bytesPerSecond)
    this.#socket = net.connect({
      port: Number(url.port),
      host: url.hostname,
      onread: {
        // Node asks for the first buffer before #socket is set.
        buffer: () => this.#slow?.buffer ?? shared,
        callback: (length, buffer) => {
          // The buffer is the one that the function above returned.
          this.#receive((buffer as Buffer).subarray(0, length))
          return this.#slow === undefined
        }
      }
    })
    this.#socket.setNoDelay(true)
    this.#socket.on('error', error => {
      this.#end(error.message)
    })
    this.#socket.on('close', () => {
      this.#end('the connection was closed')
    })
    const lines = Object.entries({ host: url.host, accept: 'text/event-stream', ...headers }).map(
      ([name, value]) => `${name}: ${value}\r\n`
    )
    this.#socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join('')}\r\n`)
  }

  /** Limits reading from now on; undefined removes the limit. */
  throttle(bytesPerSecond: number | undefined): void {
    clearInterval(this.#slow?.timer)
    if (bytesPerSecond === undefined) {
      this.#slow = undefined
      this.#socket.resume()
      return
    }
    const timer = setInterval(() => {
      if (bytesPerSecond > 0) this.#socket.resume()
    }, SLOW_TICK_MS)
    this.#slow = {
      timer,
      buffer: Buffer.alloc(Math.max(1, Math.round((bytesPerSecond * SLOW_TICK_MS) / 1000)))
    }
  }

  /** Ends the connection as a broken network would: at once, without a farewell. */
  cut(): void {
    this.#socket.resetAndDestroy()
    this.#end('cut by the drill')
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let from = 0
    if (!this.#isOpen) {
      const end = bytes.indexOf(HEAD_END)
      if (end < 0 && bytes.length < HEAD_BYTES_MAX) return this.#keep(bytes)
      const statusLine = bytes.toString('latin1', 0, bytes.indexOf(13))
      if (!/^HTTP\/1\.1 200 /.test(statusLine)) {
        this.#end(`answered ${statusLine.slice(9)}`)
        return
      }
      this.#isOpen = true
      this.#handlers.onOpen()
      from = end + HEAD_END.length
    }
    for (;;) {
      const end = bytes.indexOf(FRAME_END, from)
      if (end < 0 || this.#hasEnded) break
      this.#handlers.onFrame(bytes.subarray(from, end))
      from = end + FRAME_END.length
    }
    this.#keep(bytes.subarray(from))
  }

  #keep(bytes: Buffer): void {
    this.#rest = Buffer.from(bytes)
  }

  #end(reason: string): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    clearInterval(this.#slow?.timer)
    this.#socket.destroy()
    this.#handlers.onEnd(reason)
  }
}
