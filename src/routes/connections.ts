// The connections of clients, and which of their requests are worked on. Invariant: a connection
// has one request in work; what it pipelines behind that waits its turn, and behind an open stream
// is never answered. The process has only so many requests in work, of so many bytes: beyond that
// they are refused at once, with 503 OVERLOADED. A client that does not take its answer is cut off.
// When the process stops, each connection is told so by the next answer it gets, and an idle one is
// closed only after a while, for a request may be on its way to it.
import { type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import net, { type Socket } from 'node:net'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { DialogsError } from '../errors.js'
import { Stall } from '../live/stall.js'

export type ConnectionsOptions = {
  /** Requests in work, streams not counted. */
  readonly requestsMax: number
  /** Bytes of their bodies, as they are declared. */
  readonly requestsBytesMax: number
  /** What is counted for a body whose length is not declared. */
  readonly bodyBytesMax: number
  /** Requests that one connection may have waiting behind another. */
  readonly pipelineMax: number
  /** How long a client may take nothing of its answer. */
  readonly stalledMsMax: number
  readonly onStalled: (stalledMs: number) => void
}

/** Goes on with a request, or refuses it. */
type Go = (refusal?: DialogsError) => void

type Pending = {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly go: Go
}

type Connection = {
  readonly socket: Socket
  readonly stall: Stall
  /** Why nothing more is taken from it, if so. */
  state: 'open' | 'streaming' | 'refused'
  current: Pending | undefined
  bytes: number
  readonly waiting: Pending[]
  dropped: number
  idleSince: number
}

/** All connections together may have so many times as many requests waiting as one. */
const PIPELINES_MAX = 4
/**
 * Requests behind a stream or a refusal, which are never answered, until the connection is cut off:
 * each holds memory.
 */
const DROPPED_MAX = 100
const SWEEP_MS = 1000
const IDLE_POLL_MS = 20
/** A turn in which nothing else was to be done, and how many are waited for. */
const QUIET_TURN_MS = 0.2
const QUIET_TURNS_MAX = 200

export class Connections {
  readonly #options: ConnectionsOptions
  readonly #connections = new Map<Socket, Connection>()
  readonly #sweeping: NodeJS.Timeout
  #requests = 0
  #bytes = 0
  #waiting = 0
  #stoppedAt: number | undefined

  constructor(options: ConnectionsOptions) {
    this.#options = options
    this.#sweeping = setInterval(() => {
      this.#sweep()
    }, SWEEP_MS).unref()
  }

  /** Requests in work, and those that wait behind another one of their connection. */
  get requests(): { readonly inWork: number; readonly waiting: number } {
    return { inWork: this.#requests, waiting: this.#waiting }
  }

  /**
   * Calls `go` when it is the request's turn: at once, unless another request of the same
   * connection is in work.
   */
  enter(request: IncomingMessage, response: ServerResponse, go: Go): void {
    const connection = this.#connections.get(request.socket) ?? this.#open(request.socket)
    const pending = { request, response, go }
    if (connection.state !== 'open') this.#drop(connection)
    else if (connection.current !== undefined) this.#wait(connection, pending)
    else this.#begin(connection, pending)
  }

  /**
   * The request has become a stream, which is not in work any more, and has its connection for
   * itself.
   */
  streams(request: IncomingMessage): void {
    const connection = this.#connections.get(request.socket)
    if (connection === undefined) return
    connection.state = 'streaming'
    this.#release(connection)
    this.#forgetWaiting(connection)
  }

  /**
   * Takes no more connections, and leaves the open ones as they are. What the system has accepted
   * for the listener and the process has not would be reset, with the request that it may carry: so
   * the listener is closed right after a turn in which there was nothing to accept.
   */
  async closeListener(server: Server): Promise<void> {
    this.#stoppedAt = performance.now()
    for (const { state, current } of this.#connections.values()) {
      if (state === 'open' && current !== undefined) sayClose(current.response)
    }
    for (let turns = 0; turns < QUIET_TURNS_MAX; turns++) {
      const begunAt = performance.now()
      await turn()
      if (performance.now() - begunAt < QUIET_TURN_MS) break
    }
    // Not the HTTP server's own close: that would cut off idle connections, and with them requests
    // on their way.
    net.Server.prototype.close.call(server)
  }

  /**
   * Resolves when no connection is open but streams' and those with a request in work. Idle ones
   * are closed after so many ms.
   */
  async closeIdle(lingerMs: number): Promise<void> {
    const since = this.#stoppedAt ?? performance.now()
    for (;;) {
      const now = performance.now()
      const idle = [...this.#connections.values()].filter(
        ({ state, current }) => state === 'open' && current === undefined
      )
      if (idle.length === 0) return
      for (const { socket, idleSince } of idle) {
        if (now - Math.max(idleSince, since) >= lingerMs) socket.destroySoon()
      }
      await sleep(IDLE_POLL_MS)
    }
  }

  /** Resolves when no connection on which there ever was a request is open. */
  async allClosed(): Promise<void> {
    while (this.#connections.size > 0) await sleep(IDLE_POLL_MS)
  }

  close(): void {
    clearInterval(this.#sweeping)
  }

  #open(socket: Socket): Connection {
    const connection: Connection = {
      socket,
      stall: new Stall(socket),
      state: 'open',
      current: undefined,
      bytes: 0,
      waiting: [],
      dropped: 0,
      idleSince: 0
    }
    this.#connections.set(socket, connection)
    socket.once('close', () => {
      this.#connections.delete(socket)
      this.#release(connection)
      this.#forgetWaiting(connection)
    })
    return connection
  }

  #begin(connection: Connection, pending: Pending): void {
    const { request, response, go } = pending
    connection.current = pending
    connection.bytes = this.#bytesOf(request)
    this.#requests++
    this.#bytes += connection.bytes
    response.once('close', () => {
      this.#end(connection, pending)
    })
    if (this.#stoppedAt !== undefined && connection.waiting.length === 0) sayClose(response)
    const isOverloaded =
      this.#requests > this.#options.requestsMax || this.#bytes > this.#options.requestsBytesMax
    go(
      isOverloaded
        ? new DialogsError('OVERLOADED', 'Too many requests are in work: try again in a second.')
        : undefined
    )
  }

  #end(connection: Connection, pending: Pending): void {
    if (connection.current !== pending || connection.state === 'streaming') return
    this.#release(connection)
    connection.idleSince = performance.now()
    if (connection.waiting.length > 0) {
      setImmediate(() => {
        this.#next(connection)
      })
    }
  }

  // In a turn of its own: a long pipeline must not hold up everybody else.
  #next(connection: Connection): void {
    const next = connection.current === undefined ? connection.waiting.shift() : undefined
    if (next === undefined) return
    this.#waiting--
    this.#begin(connection, next)
  }

  #wait(connection: Connection, pending: Pending): void {
    const { pipelineMax } = this.#options
    const isFull =
      connection.waiting.length >= pipelineMax || this.#waiting >= PIPELINES_MAX * pipelineMax
    if (isFull) {
      // The last of its connection to be answered.
      connection.state = 'refused'
      sayClose(pending.response)
    }
    const refusal = isFull
      ? new DialogsError(
          'OVERLOADED',
          'Too many requests wait on this connection: send fewer before their answers come.'
        )
      : undefined
    connection.waiting.push(
      refusal === undefined
        ? pending
        : {
            ...pending,
            go: () => {
              pending.go(refusal)
            }
          }
    )
    this.#waiting++
  }

  #drop(connection: Connection): void {
    if (++connection.dropped > DROPPED_MAX) connection.socket.destroy()
  }

  #release(connection: Connection): void {
    if (connection.current === undefined) return
    connection.current = undefined
    this.#requests--
    this.#bytes -= connection.bytes
  }

  #forgetWaiting(connection: Connection): void {
    this.#waiting -= connection.waiting.length
    connection.waiting.length = 0
  }

  #bytesOf({ headers }: IncomingMessage): number {
    const { bodyBytesMax } = this.#options
    if (headers['transfer-encoding'] !== undefined) return bodyBytesMax
    const declared = headers['content-length']
    // A longer body is refused before it is read.
    return declared === undefined ? 0 : Math.min(Number(declared), bodyBytesMax)
  }

  #sweep(): void {
    const now = performance.now()
    for (const { socket, stall, state } of this.#connections.values()) {
      // Streams are the hub's.
      const stalledMs = state === 'streaming' ? 0 : stall.ms(now)
      if (stalledMs <= this.#options.stalledMsMax) continue
      this.#options.onStalled(stalledMs)
      socket.destroy()
    }
  }
}

function sayClose(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('connection', 'close')
}
