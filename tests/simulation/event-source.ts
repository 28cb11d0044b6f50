// A client of a stream: an EventSource that never gives up. It reconnects with its last id after
// every end, and also after silence, because heartbeats are promised. Its owner decides which
// events are allowed (room-reader.ts, person-reader.ts).
import { createParser } from 'eventsource-parser'
import { type Stream } from '../../src/live/stream.js'
import { type Instance } from './instance.js'
import { ReaderSocket } from './reader-socket.js'
import { type Owner } from './virtual-time.js'
import { type World } from './world.js'

export type EventSourceOptions = {
  readonly name: string
  readonly instance: number
  readonly bytesPerMs: number
  /** Asks an instance for the stream; undefined if the instance accepts none now. */
  readonly open: (instance: Instance, socket: ReaderSocket, lastId: string) => Stream | undefined
  /** A process writes this, which may arrive much later. */
  readonly onWritten?: (process: Owner, bytes: Buffer) => void
  readonly onEvent: (event: string, id: string | undefined, data: string) => void
  /** The connection has ended; it reconnects soon. */
  readonly onEnd: () => void
}

const RECONNECT_MS = 100
const SILENCE_MS_SPARE = 400

export class EventSource {
  readonly name: string
  socket: ReaderSocket | undefined
  /** The id of the last event, from which it resumes. */
  #lastId = ''
  #instance: number
  #heardAt = 0
  #isClosed = false
  /** It stays away for the time being. */
  isHeld = false
  readonly #world: World
  readonly #options: EventSourceOptions

  constructor(world: World, options: EventSourceOptions) {
    this.#world = world
    this.#options = options
    this.name = options.name
    this.#instance = options.instance
    this.#watch()
    this.#connect()
  }

  /** Closes it for good. */
  close(): void {
    this.#isClosed = true
    if (this.socket !== undefined) this.#leave(this.socket)
  }

  /** Ends the connection, and stays away until it is released. */
  hold(): void {
    this.isHeld = true
    if (this.socket !== undefined) this.#leave(this.socket)
  }

  release(): void {
    this.isHeld = false
    this.#connect()
  }

  /** Nobody could hear anything until now. */
  forgive(): void {
    this.#heardAt = this.#world.time.now
  }

  /** Ends the connection. If `isSilent`, neither side is told. */
  cut(isSilent: boolean): void {
    const { socket } = this
    if (socket === undefined) return
    this.#world.trace.note(`${this.name} is cut off${isSilent ? ' silently' : ''}`)
    if (isSilent) {
      socket.isSilent = true
      return
    }
    this.#leave(socket)
  }

  /** The instance has ended, and all its connections with it. */
  lose(instance: number): void {
    const { socket } = this
    if (socket === undefined || instance !== this.#instance) return
    this.#world.time.after(
      0.3,
      () => {
        this.#ended(socket)
      },
      this.#world.clients
    )
  }

  #leave(socket: ReaderSocket): void {
    this.#world.time.after(
      0.2,
      () => {
        socket.hangUp()
      },
      this.#world.instances[this.#instance]?.owner
    )
    this.#ended(socket)
  }

  #ended(socket: ReaderSocket): void {
    if (this.socket !== socket) return
    this.socket = undefined
    this.#options.onEnd()
    if (this.#isClosed || this.isHeld) return
    this.#instance = this.#world.random.below(this.#world.instances.length)
    this.#world.time.after(
      this.#world.random.between(1, RECONNECT_MS),
      () => {
        this.#connect()
      },
      this.#world.clients
    )
  }

  #connect(): void {
    if (this.socket !== undefined || this.#isClosed || this.isHeld) return
    const { time, clients, plan } = this.#world
    const instance = this.#world.instances[this.#instance]
    if (instance === undefined) return
    this.#heardAt = time.now
    const lastId = this.#lastId
    const socket: ReaderSocket = new ReaderSocket(time, clients, this.#options.bytesPerMs, {
      written: bytes => {
        this.#options.onWritten?.(instance.owner, bytes)
      },
      receive: bytes => {
        if (this.socket === socket) feed(bytes)
      },
      closed: () => {
        this.#ended(socket)
      }
    })
    const parser = createParser({
      onEvent: ({ event, id, data }) => {
        if (this.socket !== socket) return
        if (id !== undefined) this.#lastId = id
        if (event !== 'ping') this.#options.onEvent(event ?? 'message', id, data)
      }
    })
    const decoder = new TextDecoder()
    const feed = (bytes: Buffer): void => {
      this.#heardAt = time.now
      parser.feed(decoder.decode(bytes, { stream: true }))
    }
    this.socket = socket
    const refused = (ms: number): void => {
      time.after(
        ms,
        () => {
          this.#ended(socket)
        },
        clients
      )
    }
    time.after(
      this.#world.random.between(0.1, plan.network.latencyMsMax),
      () => {
        if (this.#options.open(instance, socket, lastId) === undefined) refused(0.1)
      },
      instance.owner
    )
    // A process that does not run refuses the connection; a stopped one says nothing.
    if (instance.owner.isDead) refused(0.3)
  }

  // The client never mistakes silence for health, and neither may the service: a connection that
  // passes bytes must not be silent for longer than promised.
  #watch(): void {
    const { time, plan, clients, oracle } = this.#world
    const check = (): void => {
      const { socket } = this
      const silentMs = time.now - this.#heardAt
      if (socket !== undefined && silentMs > plan.service.heartbeatMs + SILENCE_MS_SPARE) {
        const instance = this.#world.instances[this.#instance]
        const isExcused =
          socket.isSilent ||
          this.#options.bytesPerMs !== Infinity ||
          instance === undefined ||
          this.#world.wasHeldUp(instance.owner, this.#heardAt)
        if (!isExcused) {
          oracle.violation(`${this.name} hears nothing for ${Math.round(silentMs)} ms`)
        }
        this.#leave(socket)
      }
      if (!this.#isClosed) time.after(100, check)
    }
    time.after(100, check, clients)
  }
}
