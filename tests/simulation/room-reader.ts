// A client that reads rooms, and checks whether each event is allowed.
import { parseCursor } from '../../src/message/message.js'
import { countsAsExpired } from './durability.js'
import { EventSource } from './event-source.js'
import { type Read } from './plan.js'
import { type World } from './world.js'

export type Entry =
  | { readonly kind: 'message'; readonly text: string }
  | { readonly kind: 'change'; readonly changes: number }
  | { readonly kind: 'deleted' }
  | { readonly kind: 'lost' }

/** What a reader has of a room. */
export type Seen = {
  /**
   * The first sequence that it was sent since it started, or since it was told to start again;
   * undefined before that.
   */
  first: number | undefined
  next: number | undefined
  /** What it received, by sequence from `first` on. */
  entries: Entry[]
  /** What it shows of each message now; undefined if the message is deleted. */
  readonly now: Map<number, string | undefined>
  /** Messages whose deletion it was told of. */
  readonly gone: Set<number>
  isLive: boolean
  /** The head when it was live for the first time: what its process knew then. */
  firstHead: number | undefined
  /** It has nothing yet, not even a place to come back to. */
  isNew: boolean
  /** Up to which sequence it was told that the room was deleted. */
  goneTo: number
}

type Body = {
  readonly room: string
  readonly seq: number
  readonly text?: string
  readonly changes?: number
  readonly head?: number
  readonly reason?: string
  readonly data?: unknown
}

export class RoomReader {
  readonly name: string
  /** How many of the newest messages it asks for, also after a reset; undefined for all. */
  readonly last: number | undefined
  readonly seen = new Map<string, Seen>()
  readonly source: EventSource
  readonly #world: World
  readonly #signals = new Set<unknown>()

  constructor(world: World, name: string, { rooms, last, instance, bytesPerMs }: Read) {
    this.#world = world
    this.name = name
    this.last = last
    for (const room of rooms) this.seen.set(room, newSeen(last))
    this.source = new EventSource(world, {
      name,
      instance,
      bytesPerMs,
      open: (instance, socket, lastId) =>
        instance.openStream(
          socket,
          rooms,
          lastId === '' ? [] : lastId.split(','),
          last,
          parseCursor
        ),
      onWritten: (process, bytes) => {
        world.hearing.onWritten(name, process, bytes)
      },
      onEvent: (event, id, data) => {
        this.#event(event, id, data)
      },
      onEnd: () => {
        for (const seen of this.seen.values()) seen.isLive = false
        this.#signals.clear()
      }
    })
  }

  get isLive(): boolean {
    if (this.source.isHeld) return true
    return this.source.socket !== undefined && [...this.seen.values()].every(({ isLive }) => isLive)
  }

  #event(event: string, id: string | undefined, data: string): void {
    const { oracle, trace } = this.#world
    const body = JSON.parse(data) as Body
    const seen = this.seen.get(body.room)
    trace.note(`${this.name} gets ${event} ${id ?? ''} ${body.text ?? body.reason ?? ''}`)
    if (seen === undefined) {
      return oracle.violation(`${this.name} gets an event of ${body.room}, which it does not read`)
    }
    switch (event) {
      case 'live':
        return this.#live(seen, body.room, body.head ?? -1)
      case 'behind':
        seen.isLive = false
        return
      case 'reset':
        return this.#reset(seen, body, id ?? '')
      case 'signal':
        return this.#signal(seen, body, id)
      case 'message':
      case 'changed':
      case 'deleted':
      case 'lost':
        return this.#take(seen, event, body)
      default:
        oracle.violation(`${this.name} gets an unknown event ${event}`)
    }
  }

  #take(seen: Seen, event: 'message' | 'changed' | 'deleted' | 'lost', body: Body): void {
    const { oracle } = this.#world
    const { room, seq, text, changes = 0 } = body
    this.#begin(seen, room, seq)
    if (seen.next !== undefined && seq !== seen.next) {
      oracle.violation(`${this.name} gets ${room} ${seq} where ${seen.next} is next`)
    }
    seen.first ??= seq
    seen.next = seq + 1
    switch (event) {
      case 'message':
        oracle.onSeen(this.name, room, seq, text ?? '')
        seen.entries.push({ kind: 'message', text: text ?? '' })
        seen.now.set(seq, text)
        return
      case 'changed':
        oracle.changes.onSeen(this.name, room, { seq, changes, text })
        // Each change says what was stored when it was published, so an earlier change may already
        // show the deletion, and a later one the text. After the deletion's own entry nothing does.
        if (text === undefined && oracle.rooms.isDeletionOf(room, seq, changes)) {
          seen.gone.add(changes)
        }
        if (text !== undefined && seen.gone.has(changes)) {
          oracle.violation(
            `${this.name} gets a text of ${room} ${changes}, which is deleted: ${text}`
          )
        }
        seen.entries.push({ kind: 'change', changes })
        if (seen.now.has(changes)) seen.now.set(changes, text)
        return
      case 'deleted':
        if (!oracle.changes.mayBeDeleted(room, seq)) {
          oracle.violation(`${this.name} gets ${room} ${seq} as deleted, and nobody has deleted it`)
        }
        seen.entries.push({ kind: 'deleted' })
        seen.now.set(seq, undefined)
        return
      case 'lost':
        oracle.onLost(this.name, room, seq)
        seen.entries.push({ kind: 'lost' })
    }
  }

  #live(seen: Seen, room: string, head: number): void {
    if (seen.isLive) this.#world.oracle.violation(`${this.name} is told twice that ${room} is live`)
    seen.isLive = true
    seen.firstHead ??= head
    this.#begin(seen, room, head + 1)
    if (seen.next !== undefined && head !== seen.next - 1) {
      this.#world.oracle.violation(
        `${this.name} is live in ${room} at ${head}, and has ${seen.next - 1}`
      )
    }
    seen.next = head + 1
    seen.first ??= head + 1
  }

  // A reader that has nothing begins after the room's last deletion, and after what has expired or
  // counts as expired because no node has it. It is not told of these.
  #begin(seen: Seen, room: string, seq: number): void {
    const { rooms } = this.#world.oracle
    const isGone = (before: number): boolean =>
      rooms.isGeneration(room, before) ||
      rooms.hasExpired(room, before) ||
      countsAsExpired(this.#world, room, before)
    if (seen.isNew && isGone(seq - 1)) {
      seen.first = seq
      seen.next = seq
    }
    seen.isNew = false
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
    seen.isNew = false
    if (reason === 'deleted') seen.goneTo = Math.max(seen.goneTo, seen.next - 1)
    if (seen.next <= seen.goneTo && this.#world.oracle.upheavals === 0) {
      this.#world.oracle.violation(
        `${this.name} begins again at ${seen.next} of ${room}, which was deleted to ${seen.goneTo}`
      )
    }
    seen.entries = []
    seen.now.clear()
    seen.gone.clear()
    seen.isLive = false
  }

  // A signal has no place in the order, and may be missing. It is never invented. It is repeated
  // only if its sender could not know whether it had arrived.
  #signal(seen: Seen, { room, data }: Body, id: string | undefined): void {
    const { oracle, signals } = this.#world
    if (id !== undefined) oracle.violation(`${this.name} gets a signal with the id ${id}`)
    if (!seen.isLive) oracle.violation(`${this.name} gets a signal of ${room}, and is not live`)
    const sent = signals.get(data)
    if (sent === undefined || sent.room !== room) {
      oracle.violation(`${this.name} gets a signal of ${room} that nobody has sent there`)
    }
    if (this.#signals.has(data) && this.#world.network.brokenCount === 0) {
      oracle.violation(`${this.name} gets the signal ${String(data)} twice`)
    }
    this.#signals.add(data)
  }
}

// A reader that asked for no part of the history starts with the first message.
const newSeen = (last: number | undefined): Seen => ({
  first: last === undefined ? 1 : undefined,
  next: last === undefined ? 1 : undefined,
  entries: [],
  now: new Map(),
  gone: new Set(),
  isLive: false,
  firstHead: undefined,
  isNew: true,
  goneTo: 0
})
