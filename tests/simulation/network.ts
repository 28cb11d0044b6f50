// The network between the service's instances and the Redis nodes. Connections deliver late and in
// pieces, stall, break before or after a command and its reply, or go silent; hosts may be unable
// to reach each other. Invariant: the bytes of one direction of a connection arrive in the order in
// which they were sent, or not at all.
import { type Socket } from 'node:net'
import { type Random } from './random.js'
import { SimulatedSocket } from './socket.js'
import { type Owner, type VirtualTime } from './virtual-time.js'

/** A process that may listen at an address. */
export type Server = {
  readonly owner: Owner
  /** The process runs and accepts connections. */
  readonly isListening: boolean
  accept: (reply: Reply, end: () => void) => Session
}

/** Sends bytes to a client. `arrived` is called when the client has them all. */
export type Reply = (bytes: Buffer, arrived?: (client: Owner) => void) => void

/** A connection as its server sees it. */
export type Session = {
  receive: (bytes: Buffer) => void
  closed: () => void
}

export type NetworkOptions = {
  readonly latencyMsMax: number
  /** How often data arrives in pieces. */
  readonly piecesChance: number
}

/** How long until a message that could not pass is tried again, as TCP retransmits. */
const RETRANSMIT_MS = 40

export class Network {
  readonly #time: VirtualTime
  readonly #random: Random
  readonly #servers = new Map<string, Server>()
  readonly #options: NetworkOptions
  readonly #cut = new Set<string>()
  readonly connections = new Set<Connection>()
  /**
   * How many connections ended before their owner's process did. What was sent on them may be sent
   * again.
   */
  brokenCount = 0
  #opened = 0

  constructor(time: VirtualTime, random: Random, options: NetworkOptions) {
    this.#time = time
    this.#random = random.fork('network')
    this.#options = options
  }

  listen(address: string, server: Server): void {
    this.#servers.set(address, server)
  }

  /** Whether messages pass from one host to another. */
  passes(from: Owner, to: Owner): boolean {
    return this.#cut.size === 0 || !this.#cut.has(`${from.name}>${to.name}`)
  }

  cut(from: Owner, to: Owner): void {
    this.#cut.add(`${from.name}>${to.name}`)
  }

  join(a: Owner, b: Owner): void {
    this.#cut.delete(`${a.name}>${b.name}`)
    this.#cut.delete(`${b.name}>${a.name}`)
  }

  /** Lets everybody reach everybody again. */
  heal(): void {
    this.#cut.clear()
  }

  connect(host: string, port: number): Socket {
    const time = this.#time
    const { owner } = time
    const socket = new SimulatedSocket((ms, run) => time.after(ms, run, owner))
    const server = this.#servers.get(`${host}:${port}`)
    const random = this.#random.fork(`${owner.name} ${host}:${port} ${this.#opened++}`)
    if (server === undefined) throw new Error(`Nothing was ever at ${host}:${port}`)
    new Connection(time, this, socket, owner, server, random, this.#options).open()
    // It has the members of a socket that the service and node-redis use. Use of any other member
    // would fail with an error.
    return socket as unknown as Socket
  }
}

export class Connection {
  readonly client: Owner
  readonly server: Server
  /** Nothing passes any more, and neither side is told. */
  isDeaf = false
  /**
   * Where it breaks next: before a command arrives, or after the command was carried out, while its
   * reply is on the way.
   */
  breaksAt: 'command' | 'reply' | undefined
  readonly #time: VirtualTime
  readonly #network: Network
  readonly #socket: SimulatedSocket
  readonly #random: Random
  readonly #options: NetworkOptions
  #session: Session | undefined
  #isBroken = false
  readonly #ways = { up: newWay(), down: newWay() }
  #stalledUntil = 0

  constructor(
    time: VirtualTime,
    network: Network,
    socket: SimulatedSocket,
    client: Owner,
    server: Server,
    random: Random,
    options: NetworkOptions
  ) {
    this.#time = time
    this.#network = network
    this.#socket = socket
    this.client = client
    this.server = server
    this.#random = random
    this.#options = options
    socket.carrier = {
      send: bytes => {
        this.#send('up', bytes)
      },
      close: () => {
        this.#clientLeft()
      }
    }
  }

  open(): void {
    this.#pass('up', () => {
      if (!this.server.isListening) return this.#refuse()
      this.#network.connections.add(this)
      // The kernel accepts a connection before the server does.
      this.#pass('down', () => {
        this.#socket.connected()
      })
      this.#session = this.server.accept(
        (bytes, arrived) => {
          this.#send('down', bytes, arrived)
        },
        () => {
          this.#serverLeft()
        }
      )
    })
  }

  /** Both sides learn that the connection is over; what was on the way is lost. */
  break(): void {
    if (this.#isBroken) return
    this.#isBroken = true
    this.#network.brokenCount++
    this.#network.connections.delete(this)
    this.#time.after(
      this.#latency(),
      () => {
        this.#session?.closed()
      },
      this.server.owner
    )
    this.#time.after(
      this.#latency(),
      () => {
        // An attempt to connect never ends without an error.
        const isOpening = this.#socket.readyState === 'opening'
        this.#socket.broken(this.#random.chance(0.5) || isOpening ? reset() : undefined)
      },
      this.client
    )
  }

  /** Nothing arrives for this long; then everything does. */
  stall(ms: number): void {
    this.#stalledUntil = this.#time.now + ms
  }

  #refuse(): void {
    this.#isBroken = true
    this.#time.after(
      this.#latency(),
      () => {
        this.#socket.broken(
          Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
        )
      },
      this.client
    )
  }

  // What the client sent before may still arrive.
  #clientLeft(): void {
    if (this.#isBroken) return
    this.#network.brokenCount++
    this.#pass('up', () => {
      this.#isBroken = true
      this.#network.connections.delete(this)
      this.#session?.closed()
    })
  }

  // What the server sent before still arrives.
  #serverLeft(): void {
    this.#pass('down', () => {
      this.break()
    })
  }

  #send(direction: 'up' | 'down', bytes: Buffer, arrived?: (client: Owner) => void): void {
    if (this.#isBroken) return
    const { beforePublishing } = this.client
    if (direction === 'up' && beforePublishing !== undefined && bytes.includes('SPUBLISH')) {
      this.client.beforePublishing = undefined
      beforePublishing()
      if (this.client.isDead) return
    }
    if (
      (direction === 'up' && this.breaksAt === 'command') ||
      (direction === 'down' && this.breaksAt === 'reply')
    ) {
      return this.break()
    }
    const pieces = this.#pieces(bytes)
    for (const piece of pieces) {
      this.#pass(direction, () => {
        if (direction === 'up') this.#session?.receive(piece)
        // What arrives at a socket that its owner has closed is thrown away.
        else if (!this.#socket.destroyed) {
          this.#socket.receive(piece)
          if (piece === pieces.at(-1)) arrived?.(this.client)
        }
      })
    }
  }

  #pieces(bytes: Buffer): Buffer[] {
    if (bytes.length < 2 || !this.#random.chance(this.#options.piecesChance)) return [bytes]
    const cuts = Array.from({ length: this.#random.whole(1, 4) }, () =>
      this.#random.below(bytes.length)
    ).sort((a, b) => a - b)
    return [0, ...cuts]
      .map((cut, index) => bytes.subarray(cut, cuts[index] ?? bytes.length))
      .filter(({ length }) => length > 0)
  }

  #pass(direction: 'up' | 'down', arrive: () => void): void {
    const way = this.#ways[direction]
    way.readyAt = Math.max(way.readyAt, this.#time.now + this.#latency())
    way.waiting.push({ at: way.readyAt, arrive })
    if (way.waiting.length === 1) this.#schedule(direction, way.readyAt - this.#time.now)
  }

  #schedule(direction: 'up' | 'down', ms: number): void {
    this.#time.after(
      ms,
      () => {
        this.#arrive(direction)
      },
      direction === 'up' ? this.server.owner : this.client
    )
  }

  // Delivers the first message in line. The others wait behind it, whatever holds it up.
  #arrive(direction: 'up' | 'down'): void {
    const { waiting } = this.#ways[direction]
    const [first] = waiting
    if (first === undefined || this.#isBroken || this.isDeaf) return
    const [from, to] =
      direction === 'up' ? [this.client, this.server.owner] : [this.server.owner, this.client]
    const waitMs = this.#network.passes(from, to)
      ? this.#stalledUntil - this.#time.now
      : RETRANSMIT_MS
    if (waitMs > 0) return this.#schedule(direction, waitMs)
    waiting.shift()
    const next = waiting[0]
    if (next !== undefined) this.#schedule(direction, next.at - this.#time.now)
    first.arrive()
  }

  #latency(): number {
    return 0.05 + this.#random.next() * this.#options.latencyMsMax
  }
}

type Way = {
  readyAt: number
  readonly waiting: Array<{ readonly at: number; readonly arrive: () => void }>
}

const newWay = (): Way => ({ readyAt: 0, waiting: [] })

const reset = (): Error => Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
