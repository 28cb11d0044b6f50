// All streams of this process, and the rooms that they read. A room is opened for its first reader
// and kept for a while after the last one has left. One timer runs the audit, another closes idle
// rooms and stalled streams. Knows nothing of HTTP except sockets to write to.
import { setTimeout as sleep } from 'node:timers/promises'
import { roomChannel } from '../store/keys.js'
import { type Subscriber } from '../redis/subscriber.js'
import { Heartbeats } from './heartbeats.js'
import { type Output } from './output.js'
import { Pages, type PagesOptions } from './pages.js'
import { Reader, type JoinRequest } from './reader.js'
import { RingBudget } from './ring.js'
import { type Follower, RoomWatch } from './room-watch.js'
import { Room, type RoomEvents, type RoomHistory, type RoomLog, type RoomSettings } from './room.js'
import { type EndReason, type Stream } from './stream.js'

export type HubStore = { readonly log: RoomLog; readonly history: RoomHistory }
type HubSubscriber = Pick<Subscriber, 'subscribe' | 'unsubscribe'>

export type HubOptions = RoomSettings &
  PagesOptions & {
    readonly ringsBytesMax: number
    readonly roomLingerMs: number
    readonly auditMs: number
    readonly heartbeatMs: number
    readonly stalledMsMax: number
  }

export type HubEvents = RoomEvents & {
  ringEvicted: () => void
  stalled: (stalledMs: number) => void
}

/**
 * The audit looks at rooms this many times per interval. A room is due one turn early, so that none
 * waits longer than the interval.
 */
const AUDIT_TURNS = 8

/**
 * A room that nobody reads, but people follow as one of their dialogs, is compared with the store
 * so many times less often.
 */
const WATCHED_AUDITS = 24

type OpenRoom = {
  readonly room: Room
  watch: RoomWatch | undefined
  emptySince: number | undefined
}

export class Hub {
  readonly pages: Pages
  readonly budget: RingBudget
  readonly #store: HubStore
  readonly #subscriber: HubSubscriber
  readonly #options: HubOptions
  readonly #events: HubEvents
  readonly #rooms = new Map<string, OpenRoom>()
  readonly #streams = new Set<Stream>()
  readonly #heartbeats: Heartbeats
  readonly #timers: NodeJS.Timeout[]

  constructor(store: HubStore, subscriber: HubSubscriber, options: HubOptions, events: HubEvents) {
    this.#store = store
    this.#subscriber = subscriber
    this.#options = options
    this.#events = events
    this.pages = new Pages(store.history, options)
    this.budget = new RingBudget(options.ringsBytesMax, events.ringEvicted)
    this.#heartbeats = new Heartbeats(options.heartbeatMs)
    this.#timers = [
      setInterval(() => {
        this.#audit()
      }, options.auditMs / AUDIT_TURNS),
      setInterval(() => {
        this.#sweep()
      }, 1000)
    ]
    for (const timer of this.#timers) timer.unref()
  }

  get roomCount(): number {
    return this.#rooms.size
  }

  get streamCount(): number {
    return this.#streams.size
  }

  addStream(stream: Stream): void {
    this.#streams.add(stream)
    this.#heartbeats.add(stream)
  }

  removeStream(stream: Stream): void {
    this.#streams.delete(stream)
    this.#heartbeats.remove(stream)
  }

  /**
   * Lets a reader follow a room until its stream ends. Returns the function that removes the reader
   * from the room.
   */
  join(name: string, output: Output, request: JoinRequest): () => void {
    const entry = this.#rooms.get(name) ?? this.#open(name)
    entry.emptySince = undefined
    const { room } = entry
    const reader = new Reader(room, output, request)
    room.add(reader)
    reader.start().catch(error => {
      this.#events.failed('reader', error)
      output.stream.fail()
    })
    return () => {
      room.remove(reader)
      noteEmpty(entry)
    }
  }

  /** Lets a person follow a room as one of their dialogs, until `unwatch`. */
  watch(name: string, follower: Follower): RoomWatch {
    const entry = this.#rooms.get(name) ?? this.#open(name)
    entry.emptySince = undefined
    if (entry.watch === undefined) {
      entry.watch = new RoomWatch(entry.room)
      entry.room.watchWith(entry.watch)
    }
    entry.watch.add(follower)
    return entry.watch
  }

  unwatch(name: string, follower: Follower): void {
    const entry = this.#rooms.get(name)
    if (entry === undefined) return
    entry.watch?.remove(follower)
    noteEmpty(entry)
  }

  /**
   * Ends all streams over a period of `drainMs` and gives each client a random retry time.
   * Thousands of clients that reconnect at the same moment would overload the process they
   * reconnect to.
   */
  async drain(drainMs: number): Promise<void> {
    const streams = [...this.#streams]
    await Promise.all(
      streams.map(async stream => {
        await sleep(Math.random() * drainMs)
        stream.end('stopping', `retry: ${Math.ceil(Math.random() * drainMs)}\n\n`)
      })
    )
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer)
    this.#heartbeats.close()
    for (const { room } of this.#rooms.values()) room.close()
    this.#rooms.clear()
  }

  #open(name: string): OpenRoom {
    const room = new Room(
      name,
      this.#store.log,
      this.#store.history,
      { settings: this.#options, budget: this.budget, pages: this.pages },
      this.#events
    )
    const entry = { room, watch: undefined, emptySince: undefined }
    this.#rooms.set(name, entry)
    this.#subscriber.subscribe(roomChannel(name), {
      onMessage: payload => {
        room.receive(payload)
      },
      onSubscribed: () => {
        void room.sync()
      }
    })
    return entry
  }

  // If the publication of a room's last message is lost, no later publication proves the gap. Only
  // a look at the log finds it.
  #audit(): void {
    const { auditMs } = this.#options
    const now = performance.now()
    const readBefore = now - auditMs * (1 - 1 / AUDIT_TURNS)
    const watchedBefore = now - auditMs * (WATCHED_AUDITS - 1 / AUDIT_TURNS)
    for (const { room, watch } of this.#rooms.values()) {
      // Skip a room that is already syncing: while a shard is down, it would only be asked again
      // and again.
      const isWatched = (watch?.followerCount ?? 0) > 0
      const idleBefore = room.readerCount > 0 ? readBefore : isWatched ? watchedBefore : -Infinity
      if (room.heardAt < idleBefore && !room.isSyncing) void room.sync()
    }
  }

  #sweep(): void {
    const now = performance.now()
    for (const [name, { room, emptySince }] of this.#rooms) {
      if (emptySince === undefined || now - emptySince < this.#options.roomLingerMs) continue
      this.#subscriber.unsubscribe(roomChannel(name))
      this.#rooms.delete(name)
      room.close()
    }
    for (const stream of this.#streams) {
      const stalledMs = stream.stalledMs(now)
      if (stalledMs <= this.#options.stalledMsMax) continue
      this.#events.stalled(stalledMs)
      stream.end('stalled' satisfies EndReason)
    }
  }
}

function noteEmpty(entry: OpenRoom): void {
  const followers = entry.watch?.followerCount ?? 0
  if (entry.room.readerCount + followers === 0) entry.emptySince = performance.now()
}
