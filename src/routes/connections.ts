// The connections of clients, and which of their requests are in progress. Invariant: a connection
// has one request in progress; requests pipelined behind it wait, and requests behind an open
// stream are never answered. The number of requests in progress and their bytes are bounded in the
// process, and requests beyond that are refused at once with 503 OVERLOADED. So are requests that
// need a shard that holds too many places already (shares.ts). A request is in progress once its
// body has arrived (awaited-bodies.ts). A client that does not take its answer is disconnected.
// When the process stops, each connection is told so by its next answer. Idle connections are
// closed only after a while, because a request may be on its way.
import { type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type Socket } from 'node:net'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { DialogsError } from '../errors.js'
import { Stall } from '../live/stall.js'
import { type Share, type Shares } from '../shares.js'
import { AcceptFirst } from './accept-first.js'
import { AwaitedBodies, hasBody } from './awaited-bodies.js'
import { closeListener } from './close-listener.js'
import { PIECE_BYTES, RequestBudget, type RequestBudgetOptions } from './request-budget.js'

export type ConnectionsOptions = RequestBudgetOptions & {
  /** Requests that may wait behind another one on the same connection. */
  readonly pipelineMax: number
  /** How long a client may take nothing of its answer. */
  readonly stalledMsMax: number
  readonly onStalled: (stalledMs: number) => void
}

/** Continues with a request, or refuses it. */
type Go = (refusal?: DialogsError) => void

type Pending = {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly go: Go
}

type Connection = {
  readonly socket: Socket
  readonly stall: Stall
  /** Only an open connection takes requests: not one with a stream, nor one that was refused. */
  state: 'open' | 'streaming' | 'refused'
  /** The answer to the request in progress. */
  current: ServerResponse | undefined
  /** How many bytes of the budget the body of the request in progress takes by now. */
  bytes: number
  /** The place that the request in progress has among those that need the same shard. */
  share: { readonly of: Shares; readonly share: Share } | undefined
  readonly waiting: Pending[]
  /** The request whose bytes came last. */
  latest: IncomingMessage | undefined
  /** Requests that will never be answered, because they came behind a stream or a refusal. */
  dropped: number
  idleSince: number
}

/**
 * How many requests may wait on all connections together: this multiple of `pipelineMax`, but at
 * least WAITING_MAX_MIN, because with a small `pipelineMax` four busy connections would otherwise
 * use up the total. The same number may arrive behind refusals. Those are never answered, but each
 * one takes memory, and the parser reads up to 64 KiB of them at once.
 */
const PIPELINES_MAX = 4
const WAITING_MAX_MIN = 4000
/** After this many requests behind a stream, its connection is closed. */
const DROPPED_MAX = 100
/** Always answered: a process that is merely busy must not be killed for it. */
const LIVENESS = '/health/live'
const SWEEP_MS = 1000
const IDLE_POLL_MS = 20

export class Connections {
  readonly #options: ConnectionsOptions
  readonly #connections = new Map<Socket, Connection>()
  readonly #sweeping: NodeJS.Timeout
  readonly #acceptFirst = new AcceptFirst()
  readonly #budget: RequestBudget
  readonly #waitingMax: number
  readonly #bodies: AwaitedBodies
  #waiting = 0
  /** Requests behind refusals. */
  #refused = 0
  #stoppedAt: number | undefined

  constructor(options: ConnectionsOptions) {
    this.#options = options
    this.#budget = new RequestBudget(options)
    this.#bodies = new AwaitedBodies(options.requestsMax)
    this.#waitingMax = Math.max(WAITING_MAX_MIN, PIPELINES_MAX * options.pipelineMax)
    this.#sweeping = setInterval(() => {
      this.#sweep()
    }, SWEEP_MS).unref()
  }

  /** Requests in progress, and requests that wait behind another one on their connection. */
  get requests(): { readonly inWork: number; readonly waiting: number } {
    return { inWork: this.#budget.requests + this.#bodies.size, waiting: this.#waiting }
  }

  /** Looks at each connection that a server accepts. Call it before the server listens. */
  listenTo(server: Server): void {
    // A client may send its request and close its sending side, as `nc -N` does (RFC 9112, 9.6).
    // Without this option, which only Node's source describes, Node closes the connection then, and
    // an answer that comes later is lost: that of a POST always, though its message is stored.
    Object.assign(server, { httpAllowHalfOpen: true })
    server.on('connection', () => {
      this.#acceptFirst.accepted()
    })
  }

  /**
   * Calls `go` when it is the request's turn: at once, unless another request of the same
   * connection is in progress.
   */
  enter(request: IncomingMessage, response: ServerResponse, go: Go): void {
    const connection = this.#connections.get(request.socket) ?? this.#open(request.socket)
    const pending = { request, response, go }
    connection.latest = request
    if (connection.state !== 'open') this.#drop(connection)
    else if (connection.current !== undefined) this.#wait(connection, pending)
    else this.#begin(connection, pending)
  }

  /**
   * Counts the body of a request while it arrives. Call it when the body is about to be read: the
   * listener makes the bytes flow.
   */
  countBody(request: IncomingMessage): void {
    const { 'content-length': length, 'transfer-encoding': transfer } = request.headers
    if (length === undefined && transfer === undefined) return
    const connection = this.#connections.get(request.socket)
    const response = connection?.current
    if (connection === undefined || response === undefined) return
    let pieces = 0
    let isRefused = false
    request.on('data', (piece: Buffer) => {
      // The rest of a body that is not wanted is read and dropped. So is a body that nobody reads,
      // such as that of a GET: it takes no memory, and an error would have no listener.
      if (isRefused || connection.current !== response) return
      if (request.listenerCount('error') === 0) return
      const bytes = piece.length + (pieces++ === 0 ? 0 : PIECE_BYTES)
      isRefused = this.#budget.addBytes(bytes, connection.bytes)
      connection.bytes += bytes
      // Whoever reads the body drops what it has, and answers.
      if (isRefused) request.emit('error', overloaded())
    })
  }

  /**
   * The body of a request, if it has one, has arrived and was read.
   * @returns why it is refused, if too many requests are in progress
   */
  arrived(request: IncomingMessage): DialogsError | undefined {
    if (!this.#bodies.remove(request)) return undefined
    return this.#budget.add() ? overloaded() : undefined
  }

  /**
   * Counts the request in progress among those that need a shard, until it is answered. Nothing is
   * counted before its body has arrived, or twice.
   * @returns why it is refused, if the slot's shard has too many places already
   */
  share(request: IncomingMessage, shares: Shares, slot: number): DialogsError | undefined {
    const connection = this.#connections.get(request.socket)
    if (connection?.current === undefined) return undefined
    if (connection.share !== undefined || this.#bodies.has(request)) return undefined
    // The request itself has its place by now.
    const free = this.#options.requestsMax - this.#budget.requests + 1
    const share = shares.take(slot, Math.max(0, free))
    if (share === undefined) {
      return new DialogsError(
        'OVERLOADED',
        'Too many requests are waiting for a part of the store: try again in a second.'
      )
    }
    connection.share = { of: shares, share }
    return undefined
  }

  /**
   * The request has become a stream: it no longer counts as in progress, and has the connection to
   * itself.
   */
  streams(request: IncomingMessage): void {
    const connection = this.#connections.get(request.socket)
    if (connection === undefined) return
    const { socket } = connection
    // The socket was paused when something after this request was refused. Unless it is read again,
    // nobody sees that the client has gone.
    if (connection.state === 'refused') {
      this.#refused -= connection.dropped
      connection.dropped = 0
      socket.resume()
    }
    connection.state = 'streaming'
    connection.latest = undefined
    // No reader of a stream closes only its sending side: this one has gone.
    if (socket.readableEnded) socket.destroy()
    else socket.once('end', () => socket.destroy())
    this.#release(connection)
    this.#forgetWaiting(connection)
  }

  /**
   * Called when a connection has sent something that is not a request. An answer to that would be
   * taken for the answer to a request before it. So all complete requests before it are answered,
   * and then the connection is closed.
   * @returns false if no answer is due or on its way, so that the caller may answer what is wrong
   */
  finish(socket: Socket): boolean {
    const connection = this.#connections.get(socket)
    if (connection === undefined) return false
    const { waiting } = connection
    if (waiting.at(-1)?.request.complete === false) {
      waiting.pop()
      this.#waiting--
    }
    const last = waiting.at(-1)?.response ?? connection.current
    if (last === undefined) {
      // These bytes are the rest of a request that was answered before its body was complete, or
      // they belong to no request.
      if (connection.latest?.complete !== false) return false
      socket.destroySoon()
      return true
    }
    if (!last.req.complete && !last.headersSent) return false
    connection.state = 'refused'
    socket.pause()
    sayClose(last)
    last.once('close', () => {
      socket.destroySoon()
    })
    return true
  }

  /** Whether an answer is due or on its way, or a stream is open. */
  isBusy(socket: Socket): boolean {
    const connection = this.#connections.get(socket)
    return connection?.current !== undefined || connection?.state === 'streaming'
  }

  /** Stops accepting connections. The open ones stay; their next answer says that they close. */
  async closeListener(server: Server): Promise<void> {
    // Nobody is told before: a proxy would open a new connection for each of its requests, and one
    // that came in the moment of closing would be reset.
    await closeListener(server)
    this.#stoppedAt = performance.now()
    for (const { state, current } of this.#connections.values()) {
      if (state === 'open' && current !== undefined) sayClose(current)
    }
  }

  /**
   * Resolves when only streams and connections with a request in progress are open. Idle
   * connections are closed after `lingerMs`.
   */
  async closeIdle(lingerMs: number): Promise<void> {
    const since = this.#stoppedAt ?? performance.now()
    for (;;) {
      // Timers come before sockets. On a busy machine requests may have arrived long ago that were
      // not read yet, and closing their connection would reset them.
      await turn()
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

  /** Resolves when every connection that ever had a request is closed. */
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
      share: undefined,
      waiting: [],
      latest: undefined,
      dropped: 0,
      idleSince: 0
    }
    this.#connections.set(socket, connection)
    socket.once('close', () => {
      this.#connections.delete(socket)
      if (connection.state === 'refused') this.#refused -= connection.dropped
      this.#release(connection)
      this.#forgetWaiting(connection)
    })
    return connection
  }

  #begin(connection: Connection, { request, response, go }: Pending): void {
    connection.current = response
    connection.bytes = 0
    const isTooMany = hasBody(request) ? this.#bodies.add(request) : this.#budget.add()
    this.#endWith(connection, response)
    if (this.#stoppedAt !== undefined && connection.waiting.length === 0) sayClose(response)
    const refusal = isTooMany && request.url !== LIVENESS ? overloaded() : undefined
    if (this.#acceptFirst.isAccepting) {
      this.#acceptFirst.hold(() => {
        go(refusal)
      })
    } else go(refusal)
  }

  // A method of its own, so that the listener keeps nothing else alive. With the request's `go`, a
  // stream would keep Fastify's objects for as long as it is open: 0.9 KB for each reader.
  #endWith(connection: Connection, response: ServerResponse): void {
    response.once('close', () => {
      this.#end(connection, response)
    })
  }

  #end(connection: Connection, response: ServerResponse): void {
    if (connection.current !== response || connection.state === 'streaming') return
    this.#release(connection)
    connection.idleSince = performance.now()
    if (connection.waiting.length > 0) {
      setImmediate(() => {
        this.#next(connection)
      })
    }
  }

  // In a separate turn, so that a long pipeline does not hold up everybody else.
  #next(connection: Connection): void {
    const next = connection.current === undefined ? connection.waiting.shift() : undefined
    if (next === undefined) return
    this.#waiting--
    this.#begin(connection, next)
  }

  #wait(connection: Connection, pending: Pending): void {
    const { pipelineMax } = this.#options
    const isFull = connection.waiting.length >= pipelineMax || this.#waiting >= this.#waitingMax
    if (isFull) {
      // This is the last answer on its connection, and nothing more is read.
      connection.state = 'refused'
      connection.socket.pause()
      sayClose(pending.response)
    }
    const refusal = isFull
      ? new DialogsError(
          'OVERLOADED',
          'Too many requests are waiting on this connection: send fewer before their answers arrive.'
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
    connection.dropped++
    const isTooMany =
      connection.state === 'refused'
        ? ++this.#refused > this.#waitingMax
        : connection.dropped > DROPPED_MAX
    if (isTooMany) connection.socket.destroy()
  }

  #release(connection: Connection): void {
    const { current, share } = connection
    if (current === undefined) return
    connection.current = undefined
    this.#budget.remove(connection.bytes, !this.#bodies.remove(current.req))
    if (share === undefined) return
    share.of.give(share.share)
    connection.share = undefined
  }

  #forgetWaiting(connection: Connection): void {
    this.#waiting -= connection.waiting.length
    connection.waiting.length = 0
  }

  #sweep(): void {
    const now = performance.now()
    for (const { socket, stall, state } of this.#connections.values()) {
      // The hub watches streams.
      const stalledMs = state === 'streaming' ? 0 : stall.ms(now)
      if (stalledMs <= this.#options.stalledMsMax) continue
      this.#options.onStalled(stalledMs)
      socket.destroy()
    }
  }
}

const overloaded = (): DialogsError =>
  new DialogsError('OVERLOADED', 'Too many requests are in progress: try again in a second.')

function sayClose(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('connection', 'close')
}
