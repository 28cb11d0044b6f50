// Very many readers in one process at the least cost: plain sockets that share one buffer, and a
// counter for each. They count what they read, and keep nothing. `open` resolves when all of them
// are live.
import { randomBytes } from 'node:crypto'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pLimit from 'p-limit'
import { serve } from '../program.js'
import { SocketIoCounter } from '../socketio-counter.js'
import { SseCounter } from '../sse-counter.js'
import { type StreamRequest } from '../targets/target.js'

export type OpenReaders = {
  readonly url: string
  /** Reader i uses the path at i modulo their number. */
  readonly streams: readonly StreamRequest[]
  readonly count: number
  readonly frameBytesMin: number
  readonly lastEventId?: string | undefined
  readonly deadlineMs: number
  /**
   * Counts a connection as opened only when it is answered. Otherwise, on a busy machine, more
   * connections would be opened than fit in the listening socket's queue, and the operating system
   * would reset them.
   */
  readonly isPatient?: boolean | undefined
}

export type Opened = {
  /** From the first connection until the last reader is live. */
  readonly liveMs: number
}

export type Counted = {
  readonly messages: number
  readonly fewest: number
  readonly most: number
  readonly bytes: number
  /** On the clock of performance.now() in the program. */
  readonly atMs: number
  readonly cpuSeconds: number
}

export type ReadersMethods = {
  open: (options: OpenReaders) => Promise<Opened>
  /** Resolves when a message has arrived. */
  first: (argument: { readonly deadlineMs: number }) => Promise<void>
  count: (argument: null) => Promise<Counted>
  /** Like `count`, once nothing has arrived for `quietMs`, or at the deadline. */
  countWhenQuiet: (argument: {
    readonly quietMs: number
    readonly deadlineMs: number
  }) => Promise<Counted>
  close: (argument: null) => Promise<void>
}

/**
 * How many connections are opened at once: more would overflow the queue of a listening socket, and
 * wait for a second.
 */
const CONNECTING_MAX = 2000
const POLL_MS = 20

// A read fills the buffer and hands it over in the same turn, so one buffer serves all sockets.
const shared = Buffer.allocUnsafeSlow(256 * 1024)

class RawReader {
  readonly #counter: SseCounter | SocketIoCounter
  readonly #otherFrames: number
  readonly #socket: net.Socket
  readonly #whenOver: () => void
  readonly #whenAnswered: () => void
  bytes = 0
  /** Why the connection ended, if it did. */
  failure: string | undefined

  constructor(
    url: URL,
    stream: StreamRequest,
    options: OpenReaders,
    onConnected: () => void,
    onFailed: () => void
  ) {
    this.#otherFrames = stream.otherFrames
    this.#whenOver = onFailed
    this.#whenAnswered = onConnected
    this.#counter =
      stream.kind === 'sse'
        ? new SseCounter({ liveMark: stream.liveMark, frameBytesMin: options.frameBytesMin })
        : new SocketIoCounter(bytes => {
            this.#socket.write(bytes)
          })
    const receive = (length: number): boolean => this.#receive(shared.subarray(0, length))
    this.#socket = net.connect(
      { port: Number(url.port), host: url.hostname, onread: { buffer: shared, callback: receive } },
      () => {
        if (options.isPatient !== true) onConnected()
      }
    )
    this.#socket.setNoDelay(true)
    this.#socket.on('error', error => {
      this.#fail(error.message)
    })
    this.#socket.on('close', () => {
      this.#fail('the connection was closed')
    })
    this.#socket.write(
      stream.kind === 'sse'
        ? sseRequest(url, stream.path, options.lastEventId)
        : upgradeRequest(url, stream.path)
    )
  }

  get isLive(): boolean {
    return this.#counter.isLive
  }

  get messages(): number {
    return Math.max(0, this.#counter.frames - this.#otherFrames)
  }

  close(): void {
    this.failure = 'closed'
    this.#socket.destroy()
  }

  #receive(chunk: Buffer): boolean {
    if (this.bytes === 0) this.#whenAnswered()
    this.bytes += chunk.length
    try {
      this.#counter.push(chunk)
    } catch (error) {
      this.#fail(String(error))
    }
    return this.failure === undefined
  }

  #fail(why: string): void {
    if (this.failure !== undefined) return
    this.failure = why
    this.#socket.destroy()
    this.#whenOver()
  }
}

const sseRequest = (url: URL, path: string, lastEventId: string | undefined): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${url.host}\r\nAccept: text/event-stream\r\n${lastEventId === undefined ? '' : `Last-Event-ID: ${lastEventId}\r\n`}\r\n`

const upgradeRequest = (url: URL, path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${url.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
  `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`

let readers: RawReader[] = []

async function open(options: OpenReaders): Promise<Opened> {
  const url = new URL(options.url)
  const limit = pLimit(CONNECTING_MAX)
  const startedMs = performance.now()
  await Promise.all(
    Array.from({ length: options.count }, (_, index) =>
      limit(async () => {
        // There is at least one.
        const stream = options.streams[index % options.streams.length] as StreamRequest
        await new Promise<void>(resolve => {
          readers.push(new RawReader(url, stream, options, resolve, resolve))
        })
      })
    )
  )
  const deadline = startedMs + options.deadlineMs
  for (;;) {
    const failed = readers.find(({ failure }) => failure !== undefined)
    if (failed !== undefined) throw new Error(`A reader failed: ${failed.failure}`)
    const waiting = readers.filter(({ isLive }) => !isLive).length
    if (waiting === 0) return { liveMs: performance.now() - startedMs }
    if (performance.now() > deadline) {
      throw new Error(
        `${waiting} of ${options.count} readers are not live after ${options.deadlineMs} ms`
      )
    }
    await sleep(POLL_MS)
  }
}

async function count(): Promise<Counted> {
  const failed = readers.find(({ failure }) => failure !== undefined)
  if (failed !== undefined) throw new Error(`A reader failed: ${failed.failure}`)
  let messages = 0
  let fewest = Infinity
  let most = 0
  let bytes = 0
  for (const reader of readers) {
    messages += reader.messages
    fewest = Math.min(fewest, reader.messages)
    most = Math.max(most, reader.messages)
    bytes += reader.bytes
  }
  const { user, system } = process.cpuUsage()
  return {
    messages,
    fewest,
    most,
    bytes,
    atMs: performance.now(),
    cpuSeconds: (user + system) / 1e6
  }
}

serve({
  open,
  count,
  async first({ deadlineMs }) {
    const deadline = performance.now() + deadlineMs
    while ((await count()).messages === 0) {
      if (performance.now() > deadline) throw new Error(`No message has come in ${deadlineMs} ms`)
      await sleep(POLL_MS)
    }
  },
  async countWhenQuiet({ quietMs, deadlineMs }) {
    const deadline = performance.now() + deadlineMs
    let counted = await count()
    let quietSince = counted.atMs
    while (performance.now() - quietSince < quietMs && performance.now() < deadline) {
      await sleep(POLL_MS)
      const now = await count()
      if (now.messages !== counted.messages) quietSince = now.atMs
      counted = now
    }
    return counted
  },
  async close() {
    for (const reader of readers) reader.close()
    readers = []
  }
} satisfies ReadersMethods)
