// All streams of this process, and the rooms that they read. A room is opened for its first reader
// and kept for a while after the last one has left. One timer closes rooms that nobody needs and
// streams whose client takes nothing. The audit (audit.ts) finds last messages whose publication
// was lost. Knows nothing of HTTP except sockets to write to.
import { setTimeout as sleep } from 'node:timers/promises'
import { roomChannel, roomOf } from '../store/keys.js'
import { type Subscriber } from '../redis/subscriber.js'
import { Audit, type AuditOptions } from './audit.js'
import { Heartbeats } from './heartbeats.js'
import { LookTimes } from './look-times.js'
import { type Output } from './output.js'
import { Pages, type PagesOptions } from './pages.js'
import { Reader, type JoinRequest } from './reader.js'
import { RingBudget } from './ring.js'
import { type Follower, RoomWatch } from './room-watch.js'
import { Room, type RoomEvents, type RoomSettings } from './room.js'
import { type RoomStore } from './room-sync.js'
import { type EndReason, type Stream } from './stream.js'

type HubSubscriber = Pick<Subscriber, 'subscribe' | 'unsubscribe'>

export type HubOptions = RoomSettings &
  PagesOptions &
  AuditOptions & {
    readonly ringsBytesMax: number
    readonly roomLingerMs: number
    readonly heartbeatMs: number
    readonly stalledMsMax: number
  }

export type HubEvents = RoomEvents & {
  ringEvicted: () => void
  stalled: (stalledMs: number) => void
}

/** How often rooms that nobody reads, and streams whose client takes nothing, are looked for. */
const SWEEP_MS_MIN = 1000
const SWEEP_MS_MAX = 5000

/**
 * A room that nobody reads, but that people follow as one of their dialogs, is compared with the
 * store this many times less often.
 */
const WATCHED_AUDITS = 6

/** As Audit's `looksPerMsMax`: a look at a room is a command or two. */
const LOOKS_PER_MS_MAX = 3

type OpenRoom = {
  readonly room: Room
  readonly looks: LookTimes
  watch: RoomWatch | undefined
  emptySince: number | undefined
}

export class Hub {
  readonly pages: Pages
  readonly budget: RingBudget
  readonly #store: RoomStore
  readonly #subscriber: HubSubscriber
  readonly #options: HubOptions
  readonly #events: HubEvents
  readonly #rooms = new Map<string, OpenRoom>()
  readonly #streams = new Set<Stream>()
  readonly #heartbeats: Heartbeats
  readonly #audit: Audit<OpenRoom>
  readonly #sweeping: NodeJS.Timeout

  constructor(store: RoomStore, subscriber: HubSubscriber, options: HubOptions, events: HubEvents) {
    this.#store = store
    this.#subscriber = subscriber
    this.#options = options
    this.#events = events
    this.pages = new Pages(store.history, options, store.shardOf)
    this.budget = new RingBudget(options.ringsBytesMax, events.ringEvicted)
    this.#heartbeats = new Heartbeats(options.heartbeatMs)
    this.#audit = new Audit(this.#rooms, options, LOOKS_PER_MS_MAX, (entry, now) => {
      this.#look(entry, now)
    })
    this.#sweeping = setInterval(() => {
      this.#sweep()
    }, sweepMs(options)).unref()
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

  /** A publication to this channel may have been lost. */
  doubt(channel: string): void {
    const name = roomOf(channel)
    const entry = name === undefined ? undefined : this.#rooms.get(name)
    if (entry === undefined) return
    void entry.room.sync.run()
    this.#audit.lookAgain(entry)
  }

  /** Publications to any channel may have been lost: every room is compared with the store. */
  doubtAll(): void {
    this.#audit.doubtAll()
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
    this.#audit.close()
    clearInterval(this.#sweeping)
    this.#heartbeats.close()
    for (const { room } of this.#rooms.values()) room.close()
    this.#rooms.clear()
  }

  #open(name: string): OpenRoom {
    const room = new Room(
      name,
      this.#store,
      { settings: this.#options, budget: this.budget, pages: this.pages },
      this.#events
    )
    const looks = new LookTimes(performance.now(), this.#options.auditMs)
    const entry: OpenRoom = { room, looks, watch: undefined, emptySince: undefined }
    this.#rooms.set(name, entry)
    this.#subscriber.subscribe(roomChannel(name), {
      onMessage: payload => {
        room.receive(payload)
      },
      onSubscribed: isSettled => {
        void room.sync.run()
        if (!isSettled) this.#audit.lookAfterChange(entry)
      },
      onLost: () => {
        room.sync.lost()
      }
    })
    return entry
  }

  #look(entry: OpenRoom, now: number): void {
    const { room, looks } = entry
    const why = looks.takeDue(now, room.heardAt, this.#intervalOf(entry))
    if (why === 'doubt') void room.sync.run()
    else if (why === 'routine') void room.sync.glance()
  }

  // A room that only lingers is not looked at. Once somebody is back, a look is due an interval
  // after the room was last heard of, which may be at once.
  #intervalOf({ room, watch }: OpenRoom): number {
    if (room.readerCount > 0) return this.#options.auditMs
    return (watch?.followerCount ?? 0) > 0 ? WATCHED_AUDITS * this.#options.auditMs : Infinity
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

const sweepMs = ({ stalledMsMax, roomLingerMs }: HubOptions): number =>
  Math.max(SWEEP_MS_MIN, Math.min(SWEEP_MS_MAX, stalledMsMax / 12, roomLingerMs / 2))

function noteEmpty(entry: OpenRoom): void {
  const followers = entry.watch?.followerCount ?? 0
  if (entry.room.readerCount + followers === 0) entry.emptySince = performance.now()
}
