// One EventSource that reads a fixed list of rooms, and a watchdog over it. Invariant: the listener
// hears `onDown` before the connection has been silent for two heartbeat intervals, so a dead
// network never looks like a quiet room.
//
// An EventSource comes back by itself after most failures, at the time that the service asked for.
// It gives up for good when it is answered with an error status, and it never notices a network
// that swallows packets: in both cases this file opens another one, with backoff, behind the last
// entry of each room.
import { backoffMs } from './backoff.js'
import { type Entry, parseEntry, parseObject } from './message.js'

/** A stream starts with a ping that tells its interval; this holds until then. */
const HEARTBEAT_MS_DEFAULT = 15_000
/**
 * Silence of this many intervals means that the connection is dead. The rest of two intervals is
 * left for coming back.
 */
const SILENT_INTERVALS_MAX = 4 / 3
/** For an answer to a new request. */
const OPEN_MS_MAX = 10_000
/**
 * A network that swallowed one connection has swallowed the idle ones as well, and the browser
 * sends new requests over those: up to six. So the first attempts after a silence are short. Each
 * that fails takes one dead connection out of the way.
 */
const SHORT_ATTEMPTS = 6
const SHORT_INTERVALS = 1 / 12
const SHORT_MS_MAX = 1000
/**
 * For the browser's own next attempt: the service spreads those over up to five times its RETRY_MS.
 */
const RETRY_MS_MAX = 30_000

export interface ConnectionListener {
  readonly onOpen: () => void
  readonly onDown: () => void
  readonly onEntry: (room: string, entry: Entry, cursor: string) => void
  readonly onLive: (room: string) => void
  readonly onReset: (room: string) => void
}

export class Connection {
  readonly rooms: readonly string[]
  readonly #base: string
  readonly #listener: ConnectionListener
  readonly #cursors: string[]
  #predecessor: Connection | undefined
  #source: EventSource | undefined
  #heartbeatMs = HEARTBEAT_MS_DEFAULT
  #failures = 0
  #shortAttempts = 0
  #isDown = false
  #retryTimer: ReturnType<typeof setTimeout> | undefined
  #watchdog: ReturnType<typeof setTimeout> | undefined
  #deadline = 0
  #timerMs = 0

  /**
   * @param base the address that `events` is relative to
   * @param cursors where to start in each room, in the order of `rooms`
   * @param predecessor goes on until this connection is open or has failed; it is closed with this
   * one
   */
  constructor(
    base: string,
    rooms: readonly string[],
    cursors: readonly string[],
    listener: ConnectionListener,
    predecessor?: Connection
  ) {
    this.rooms = rooms
    this.#base = base
    this.#cursors = [...cursors]
    this.#listener = listener
    this.#predecessor = predecessor
    this.#connect()
  }

  /** The place that the connection has reached in a room. */
  cursorIn(room: string): string {
    return this.#cursors[this.rooms.indexOf(room)] ?? '0'
  }

  /** Tries again now instead of later. Does nothing while all is well. */
  hurry(): void {
    if (this.#isDown) this.#connect()
  }

  close(): void {
    this.#dismissPredecessor()
    this.#disconnect()
  }

  #connect(): void {
    this.#disconnect()
    const query = new URLSearchParams(this.rooms.map(room => ['room', room]))
    query.set('after', this.#cursors.join(','))
    // After a reset the readers ask for the newest messages themselves.
    query.set('last', '0')
    const source = new EventSource(new URL(`events?${query}`, this.#base))
    this.#source = source
    this.#expectWithin(
      this.#shortAttempts-- > 0
        ? Math.min(SHORT_MS_MAX, SHORT_INTERVALS * this.#heartbeatMs)
        : OPEN_MS_MAX
    )
    source.onopen = () => {
      this.#isDown = false
      this.#shortAttempts = 0
      this.#dismissPredecessor()
      this.#heard()
      this.#listener.onOpen()
    }
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) this.#connectLater()
      else this.#expectWithin(RETRY_MS_MAX)
      this.#goDown()
    }
    source.onmessage = event => this.#take(event, data => parseEntry(data))
    source.addEventListener('lost', event =>
      this.#take(event, data => parseEntry({ ...data, lost: true }))
    )
    source.addEventListener('live', event => {
      // Only now: a service that accepts and then breaks off is not well either.
      this.#failures = 0
      this.#listener.onLive(this.#advance(event).room)
    })
    source.addEventListener('reset', event => this.#listener.onReset(this.#advance(event).room))
    source.addEventListener('ping', event => {
      this.#heard()
      const { heartbeatMs } = parseObject(JSON.parse(event.data))
      if (typeof heartbeatMs === 'number') this.#heartbeatMs = heartbeatMs
    })
  }

  #take(
    event: MessageEvent<string>,
    parse: (data: { readonly [field: string]: unknown }) => Entry
  ): void {
    const { room, cursor, data } = this.#advance(event)
    this.#listener.onEntry(room, parse(data), cursor)
  }

  /**
   * Reads the event's room, and takes over its place from the id: one cursor for each room, in the
   * order of the rooms.
   */
  #advance(event: MessageEvent<string>): {
    room: string
    cursor: string
    data: { readonly [field: string]: unknown }
  } {
    this.#heard()
    const data = parseObject(JSON.parse(event.data))
    const room = String(data['room'])
    const index = this.rooms.indexOf(room)
    const cursor = event.lastEventId.split(',')[index]
    if (cursor === undefined) {
      throw new TypeError(`The service sent an event of the room ${room} without a place in it`)
    }
    this.#cursors[index] = cursor
    return { room, cursor, data }
  }

  #goDown(): void {
    this.#isDown = true
    this.#dismissPredecessor()
    this.#listener.onDown()
  }

  #connectLater(): void {
    this.#disconnect()
    this.#failures++
    this.#retryTimer = setTimeout(() => this.#connect(), backoffMs(this.#failures))
  }

  #disconnect(): void {
    clearTimeout(this.#retryTimer)
    clearTimeout(this.#watchdog)
    this.#watchdog = undefined
    this.#source?.close()
    this.#source = undefined
  }

  #dismissPredecessor(): void {
    this.#predecessor?.close()
    this.#predecessor = undefined
  }

  #heard(): void {
    this.#expectWithin(SILENT_INTERVALS_MAX * this.#heartbeatMs)
  }

  /** One timer, set again only when it fires: events may come by the thousand. */
  #expectWithin(ms: number): void {
    this.#deadline = performance.now() + ms
    // A timer that fires too late would notice too late.
    if (this.#watchdog === undefined || ms < this.#timerMs) this.#watch(ms)
  }

  #watch(ms: number): void {
    clearTimeout(this.#watchdog)
    this.#timerMs = ms
    this.#watchdog = setTimeout(() => {
      const leftMs = this.#deadline - performance.now()
      if (leftMs > 0) return this.#watch(leftMs)
      this.#watchdog = undefined
      if (!this.#isDown) this.#shortAttempts = SHORT_ATTEMPTS
      this.#goDown()
      this.#connect()
    }, ms)
  }
}
