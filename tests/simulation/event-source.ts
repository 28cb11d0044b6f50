// A reader: an EventSource that stays with some rooms through everything, and says of each event
// whether it may be. It comes back with its last id after every end, and also after silence:
// heartbeats are promised.
import { createParser } from 'eventsource-parser'
import { parseCursor } from '../../src/message/message.js'
import { type Read } from './plan.js'
import { ReaderSocket } from './reader-socket.js'
import { type World } from './world.js'

/** What a reader has of a room. */
export type Seen = {
  /**
   * The first sequence it was sent since it began, or was told to begin again; undefined before.
   */
  first: number | undefined
  next: number | undefined
  /** By sequence from `first` on; undefined for what it was told is lost. */
  texts: Array<string | undefined>
  isLive: boolean
}

type Message = {
  readonly room: string
  readonly seq: number
  readonly user?: string
  readonly text?: string
  readonly lost?: true
}

const RECONNECT_MS = 100
const SILENCE_MS_SPARE = 400

export class EventSourceReader {
  readonly name: string
  readonly seen = new Map<string, Seen>()
  socket: ReaderSocket | undefined
  #instance: number
  /** The id of the last event: where it goes on. */
  #lastId = ''
  #heardAt = 0
  readonly #world: World
  readonly #read: Read

  constructor(world: World, name: string, read: Read) {
    this.#world = world
    this.name = name
    this.#read = read
    this.#instance = read.instance
    for (const room of read.rooms) this.seen.set(room, newSeen(read.last))
    this.#watch()
    this.#connect()
  }

  get isLive(): boolean {
    return this.socket !== undefined && [...this.seen.values()].every(({ isLive }) => isLive)
  }

  /** The connection ends; silently: neither side is told. */
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

  /** The instance has ended: its connections with it. */
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
    for (const seen of this.seen.values()) seen.isLive = false
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
    if (this.socket !== undefined) return
    const { time, clients, plan } = this.#world
    const instance = this.#world.instances[this.#instance]
    if (instance === undefined) return
    this.#heardAt = time.now
    const cursors = this.#lastId === '' ? [] : this.#lastId.split(',')
    const socket: ReaderSocket = new ReaderSocket(time, clients, this.#read.bytesPerMs, {
      receive: bytes => {
        if (this.socket === socket) feed(bytes)
      },
      closed: () => {
        this.#ended(socket)
      }
    })
    const parser = createParser({
      onEvent: ({ event, id, data }) => {
        if (this.socket === socket) this.#event(event ?? 'message', id, data)
      }
    })
    const decoder = new TextDecoder()
    const feed = (bytes: Buffer): void => {
      this.#heardAt = time.now
      parser.feed(decoder.decode(bytes, { stream: true }))
    }
    this.socket = socket
    time.after(
      this.#world.random.between(0.1, plan.network.latencyMsMax),
      () => {
        const stream = instance.openStream(
          socket,
          this.#read.rooms,
          cursors,
          this.#read.last,
          parseCursor
        )
        if (stream === undefined) {
          time.after(
            0.1,
            () => {
              this.#ended(socket)
            },
            clients
          )
        }
      },
      instance.owner
    )
    // A process that is not there refuses; one that has stopped says nothing.
    if (instance.owner.isDead) {
      time.after(
        0.3,
        () => {
          this.#ended(socket)
        },
        clients
      )
    }
  }

  // Never mistakes silence for health, and neither may the service: a connection that passes bytes
  // is not silent for longer than promised.
  #watch(): void {
    const { time, plan, clients, oracle } = this.#world
    const check = (): void => {
      const { socket } = this
      const silentMs = time.now - this.#heardAt
      if (socket !== undefined && silentMs > plan.service.heartbeatMs + SILENCE_MS_SPARE) {
        const instance = this.#world.instances[this.#instance]
        const isExcused =
          socket.isSilent ||
          this.#read.bytesPerMs !== Infinity ||
          instance === undefined ||
          this.#world.wasHeldUp(instance.owner, this.#heardAt)
        if (!isExcused) {
          oracle.violation(`${this.name} hears nothing for ${Math.round(silentMs)} ms`)
        }
        this.#leave(socket)
      }
      time.after(100, check)
    }
    time.after(100, check, clients)
  }

  #event(event: string, id: string | undefined, data: string): void {
    if (id !== undefined) this.#lastId = id
    if (event === 'ping') return
    const body = JSON.parse(data) as Message & { readonly head?: number; readonly reason?: string }
    const seen = this.seen.get(body.room)
    this.#world.trace.note(
      `${this.name} gets ${event} ${id ?? ''} ${body.text ?? body.reason ?? ''}`
    )
    if (seen === undefined) {
      return this.#world.oracle.violation(
        `${this.name} gets an event of ${body.room}, which it does not read`
      )
    }
    if (event === 'live') return this.#live(seen, body.room, body.head ?? -1)
    if (event === 'reset') return this.#reset(seen, body, id ?? '')
    if (event !== 'message' && event !== 'lost') {
      return this.#world.oracle.violation(`${this.name} gets an unknown event ${event}`)
    }
    this.#take(seen, body)
  }

  #take(seen: Seen, { room, seq, text, lost }: Message): void {
    const { oracle } = this.#world
    if (seen.next !== undefined && seq !== seen.next) {
      oracle.violation(`${this.name} gets ${room} ${seq} where ${seen.next} is next`)
    }
    seen.first ??= seq
    seen.next = seq + 1
    seen.texts.push(text)
    if (lost === true) oracle.onLost(this.name, room, seq)
    else oracle.onSeen(this.name, room, seq, text ?? '')
  }

  #live(seen: Seen, room: string, head: number): void {
    if (seen.isLive) this.#world.oracle.violation(`${this.name} is told twice that ${room} is live`)
    seen.isLive = true
    if (seen.next !== undefined && head !== seen.next - 1) {
      this.#world.oracle.violation(
        `${this.name} is live in ${room} at ${head}, and has ${seen.next - 1}`
      )
    }
    seen.next = head + 1
    seen.first ??= head + 1
  }

  #reset(
    seen: Seen,
    { room, reason = '' }: { readonly room: string; readonly reason?: string },
    id: string
  ): void {
    this.#world.oracle.onReset(this.name, room, reason)
    const cursor = id.split(',')[[...this.seen.keys()].indexOf(room)] ?? ''
    seen.next = Number.parseInt(cursor, 10) + 1
    seen.first = seen.next
    seen.texts = []
    seen.isLive = false
  }
}

// A reader that asked for no part of the history begins with the first message.
const newSeen = (last: number | undefined): Seen => ({
  first: last === undefined ? 1 : undefined,
  next: last === undefined ? 1 : undefined,
  texts: [],
  isLive: false
})
