// Connects readers (the open pages of a browser) with the rooms that they read, over as few streams
// as possible: one for up to 100 rooms.
//
// Invariant: each reader gets every entry after its cursor once, in order. A stream starts at the
// oldest cursor among a room's readers, and each reader gets only what comes after its own, so
// nothing needs to be stored here. When the list of rooms changes, the old stream continues until
// the new one is open; the same rule drops what both bring.
import { type Dialogs, type Refusal } from '../src/client/dialogs.js'
import { Connection } from './connection.js'
import { contradicts, seqOf } from './cursor.js'
import { type Entry } from './entry.js'
import { type Reader, type RoomState, type ToPage } from './wire.js'

/**
 * The service's default for ROOMS_PER_STREAM_MAX; more rooms get a second stream. Halved whenever
 * the service refuses a stream as too large.
 */
const ROOMS_MAX = 100
/** Pages that open within this time share one change of the stream. */
const JOIN_MS = 20
/** A page that is reloaded leaves and comes back within this time. */
const LEAVE_MS = 1000

/** The service's reason when another message has the reader's sequence. */
const REWOUND = 'rewound'

/** Where a reader is: it gets what comes after the cursor. */
type Position = { readonly room: string; cursor: string }

export class Switchboard {
  readonly #dialogs: Dialogs
  #roomsMax = ROOMS_MAX
  readonly #positions = new Map<Reader, Position>()
  readonly #states = new Map<string, RoomState>()
  #connections: Connection[] = []
  #timer: ReturnType<typeof setTimeout> | undefined
  #dueAt = Infinity

  constructor(dialogs: Dialogs) {
    this.#dialogs = dialogs
  }

  leave(reader: Reader): void {
    if (this.#positions.delete(reader)) this.#rearrangeWithin(LEAVE_MS)
  }

  /** From now on the reader gets what comes in the room after the cursor. */
  join(reader: Reader, room: string, cursor: string): void {
    this.leave(reader)
    this.#positions.set(reader, { room, cursor })
    const connection = this.#connectionOf(room)
    if (connection !== undefined && contradicts(connection.cursorIn(room), cursor)) {
      return this.#reset(room, REWOUND)
    }
    reader.send({
      type: 'state',
      state: this.#isServed(connection, room)
        ? (this.#states.get(room) ?? 'connecting')
        : 'connecting',
      inMs: 0
    })
    this.#rearrangeWithin(JOIN_MS)
  }

  #connectionOf(room: string): Connection | undefined {
    return this.#connections.find(({ rooms }) => rooms.includes(room))
  }

  /** Whether a connection brings everything that the room's readers still need. */
  #isServed(connection: Connection | undefined, room: string): boolean {
    return (
      connection !== undefined &&
      seqOf(connection.cursorIn(room)) <= seqOf(this.#oldestCursor(room))
    )
  }

  #oldestCursor(room: string): string {
    const cursors = [...this.#positions.values()]
      .filter(position => position.room === room)
      .map(({ cursor }) => cursor)
    return cursors.reduce((oldest, cursor) => (seqOf(cursor) < seqOf(oldest) ? cursor : oldest))
  }

  #rearrangeWithin(ms: number): void {
    const dueAt = performance.now() + ms
    if (dueAt >= this.#dueAt) return
    clearTimeout(this.#timer)
    this.#dueAt = dueAt
    this.#timer = setTimeout(() => {
      this.#dueAt = Infinity
      this.#rearrange()
    }, ms)
  }

  /**
   * Keeps each room on the connection that has it, fills connections up with new rooms, and
   * replaces those that changed.
   */
  #rearrange(): void {
    const wanted = new Set([...this.#positions.values()].map(({ room }) => room))
    const lists = this.#connections.map(({ rooms }) => rooms.filter(room => wanted.has(room)))
    for (const room of wanted) {
      if (lists.some(list => list.includes(room))) continue
      const list = lists.find(({ length }) => length < this.#roomsMax)
      if (list === undefined) lists.push([room])
      else list.push(room)
    }
    for (const room of this.#states.keys()) if (!wanted.has(room)) this.#states.delete(room)
    this.#connections = lists.flatMap((list, index) => {
      const old = this.#connections[index]
      const isSame =
        old !== undefined &&
        old.rooms.length === list.length &&
        list.every(room => this.#isServed(old, room))
      if (isSame) return old
      if (list.length > 0) return this.#connect(list, old)
      old?.close()
      return []
    })
  }

  #connect(rooms: readonly string[], old: Connection | undefined): Connection {
    const setState = (room: string, state: RoomState, inMs = 0): void =>
      this.#setState(room, state, inMs)
    const connection: Connection = new Connection(
      this.#dialogs,
      rooms,
      rooms.map(room => this.#oldestCursor(room)),
      {
        onOpen: () => {
          // A room that was live a moment ago is only a few milliseconds behind, which is not worth
          // a flicker in the page.
          for (const room of rooms) if (this.#states.get(room) !== 'live') setState(room, 'history')
        },
        onDown: inMs => {
          for (const room of rooms) setState(room, 'reconnecting', inMs)
        },
        onEntry: (room, entry, cursor) => this.#deliver(room, entry, cursor),
        onLive: room => setState(room, 'live'),
        onBehind: room => setState(room, 'connecting'),
        onReset: (room, reason) => this.#reset(room, reason),
        onSignal: (room, { user, kind, data }) =>
          this.#tell(room, { type: 'signal', signal: { user, kind, data } }),
        onRemoved: room => this.#dismiss([room]),
        onRefused: refusal => this.#refused(connection, refusal)
      },
      old
    )
    return connection
  }

  /**
   * A stream of too many rooms is split. Any other refusal is about one room, and the answer does
   * not say which: each page asks about its own.
   */
  #refused(connection: Connection, { code }: Refusal): void {
    const { rooms } = connection
    this.#connections = this.#connections.filter(each => each !== connection)
    if (code === 'INVALID_QUERY' && rooms.length > 1) {
      this.#roomsMax = Math.ceil(rooms.length / 2)
    } else this.#dismiss(rooms)
    this.#rearrangeWithin(JOIN_MS)
  }

  /** All pages in these rooms leave, and ask whether they may come back. */
  #dismiss(rooms: readonly string[]): void {
    for (const [reader, { room }] of this.#positions) {
      if (!rooms.includes(room)) continue
      this.leave(reader)
      reader.send({ type: 'refused' })
    }
  }

  #setState(room: string, state: RoomState, inMs: number): void {
    this.#states.set(room, state)
    this.#tell(room, { type: 'state', state, inMs })
  }

  #tell(room: string, message: ToPage): void {
    for (const [reader, position] of this.#positions) {
      if (position.room === room) reader.send(message)
    }
  }

  #deliver(room: string, entry: Entry, cursor: string): void {
    for (const [reader, position] of this.#positions) {
      if (position.room !== room) continue
      const next = seqOf(position.cursor) + 1
      if (entry.seq === next) {
        position.cursor = cursor
        reader.send({ type: 'entry', entry, cursor })
      } else if (entry.seq > next) {
        // From a stream that was ahead of this reader when it joined. The stream that starts at its
        // cursor is being opened.
        this.#rearrangeWithin(JOIN_MS)
      } else if (!('lost' in entry) && contradicts(position.cursor, cursor)) {
        // Another message has the sequence now: the room was rewound below this reader, though not
        // below the oldest one.
        this.#release(reader, REWOUND)
      }
    }
  }

  #reset(room: string, reason: string): void {
    for (const [reader, position] of this.#positions) {
      if (position.room === room) this.#release(reader, reason)
    }
  }

  #release(reader: Reader, reason: string): void {
    this.leave(reader)
    reader.send({ type: 'reset', reason })
  }
}
