// A room in this process, as its readers see it: when it is ready, its pages, and when a reader may
// go live. It connects three parts. Delivery puts what is published into order, RoomSync compares
// it with the log in the store, KnownHorizon says what is gone. Invariant: a reader that goes live
// has everything up to that moment, and is written everything from there on. When history turns
// out to be void, every reader hears of it and starts over.
import { decodeDeletion, decodePublication, decodeSignal } from '../message/publication.js'
import { frameAt, frameMs, type Frames, framesFrom, lastOf } from '../message/frame.js'
import { Delivery, type DeliveryOptions } from './delivery.js'
import { FanOut, type ResetReason, type RoomReader } from './fan-out.js'
import { KnownHorizon } from './known-horizon.js'
import { type Page, type Pages } from './pages.js'
import { READS_MAX, RoomSync, type RoomStore } from './room-sync.js'
import { type RoomWatch } from './room-watch.js'
import { Ring, type RingBudget, type RingOptions } from './ring.js'

export type RoomSettings = RingOptions & DeliveryOptions

/** What the rooms of a process share. */
export type RoomOptions = {
  readonly settings: RoomSettings
  readonly budget: RingBudget
  readonly pages: Pages
}

/** What a room reports to its process, for metrics and the log. */
export type RoomEvents = {
  gap: () => void
  reset: (reason: ResetReason) => void
  earlyFull: () => void
  /**
   * The store did not answer before its deadline. A sync is tried again; a reader's stream ends.
   */
  failed: (what: 'sync' | 'reader', error: unknown) => void
}

export class Room {
  readonly room: string
  readonly pages: Pages
  readonly horizon: KnownHorizon
  readonly sync: RoomSync
  readonly #events: RoomEvents
  readonly #acknowledged: RoomStore['acknowledged']
  readonly #readers = new Set<RoomReader>()
  readonly #ring: Ring
  readonly #fanOut = new FanOut()
  readonly #delivery: Delivery

  constructor(
    room: string,
    store: RoomStore,
    { settings, budget, pages }: RoomOptions,
    events: RoomEvents
  ) {
    this.room = room
    this.pages = pages
    this.#events = events
    this.#acknowledged = store.acknowledged
    this.#ring = new Ring(1, settings, budget)
    this.#delivery = new Delivery(this.#ring, this.#fanOut, settings, {
      gap: () => {
        events.gap()
        void this.sync.run()
      },
      earlyFull: events.earlyFull,
      contradicted: () => {
        void this.sync.run()
      }
    })
    this.horizon = new KnownHorizon(room, store.log, this.#ring)
    this.sync = new RoomSync(room, store.log, pages, this.#delivery, this.horizon, {
      reset: (reason, head, headMs) => {
        this.#reset(reason, head, headMs)
      },
      // Readers would otherwise take the silence for a quiet room.
      behind: () => {
        this.#fanOut.flush()
        for (const reader of [...this.#readers]) reader.fallBehind()
        this.#delivery.watch?.fellBehind()
      },
      failed: error => {
        events.failed('sync', error)
      }
    })
  }

  /** The last sequence that this process has seen. */
  get head(): number {
    return this.#delivery.head
  }

  /** The time of the head's entry; 0 in an empty room. */
  get headMs(): number {
    return this.#delivery.headMs
  }

  /** Changes whenever something that was read from the room may be outdated. */
  get epoch(): number {
    return this.#delivery.epoch
  }

  /**
   * When a message was last delivered or the log last read, by performance.now(). The audit skips
   * rooms that were heard of recently.
   */
  get heardAt(): number {
    return this.#delivery.heardAt
  }

  /** The room may have messages that cannot be read now. */
  get isBehind(): boolean {
    return this.sync.isBehind
  }

  get readerCount(): number {
    return this.#readers.size
  }

  /** Tells the watch of everything that is delivered from now on. */
  watchWith(watch: RoomWatch): void {
    this.#delivery.watch = watch
  }

  add(reader: RoomReader): void {
    this.#readers.add(reader)
  }

  remove(reader: RoomReader): void {
    this.#readers.delete(reader)
    this.#fanOut.remove(reader)
  }

  /** Resolves when the room is subscribed and its head is known, and it is not behind. */
  async ready(): Promise<void> {
    await this.sync.ready()
  }

  close(): void {
    this.#delivery.close()
    this.sync.stop()
  }

  /**
   * Makes a reader live if it has everything up to this moment. There is no await between the
   * comparison and the joining.
   */
  goLive(reader: RoomReader, next: number): boolean {
    if (next !== this.#ring.next) return false
    this.#fanOut.flush()
    if (this.#readers.has(reader)) this.#fanOut.add(reader)
    return true
  }

  leaveLive(reader: RoomReader): void {
    this.#fanOut.remove(reader)
  }

  /** Reports an error that ends a reader's stream. */
  readerFailed(error: unknown): void {
    this.#events.failed('reader', error)
  }

  /**
   * At least one frame, starting at a sequence that the room has seen, from the ring or the store.
   * Undefined if the store does not have what the room has seen.
   */
  async pageFrom(
    seq: number,
    length = this.pages.firstLength(this.room, 1)
  ): Promise<Page | undefined> {
    const group = this.#ring.groupOf(seq)
    if (group !== undefined) return [framesFrom(group, seq)]
    if (seq > this.head) return undefined
    let { epoch, page } = await this.#readPage(seq, length)
    // A message was changed during the read, so the page may hold a text that is gone.
    for (let tries = 1; tries < READS_MAX && epoch !== this.epoch; tries++) {
      ;({ epoch, page } = await this.#readPage(seq, length))
    }
    if (epoch === this.epoch && !this.#delivery.isClosed) {
      for (const frames of page.toReversed()) this.#ring.pushOlder(frames)
    }
    const rest = page.filter(frames => lastOf(frames) >= seq)
    const [first] = rest
    return first === undefined || first.first > seq
      ? undefined
      : [framesFrom(first, seq), ...rest.slice(1)]
  }

  /** Takes a publication from the room's channel. */
  receive(payload: Buffer): void {
    const frames = decodePublication(payload)
    if (this.#delivery.isClosed) return
    if (frames !== undefined) return this.#published(frames)
    const signal = decodeSignal(payload)
    if (signal !== undefined) return this.#fanOut.signal(signal)
    const deletion = decodeDeletion(payload)
    // Before the room has begun, its head is still being read, perhaps from before the deletion.
    // And a newer version of the service may publish something that this one does not know. In both
    // cases the log decides.
    if (!this.#delivery.hasBegun || deletion === undefined) void this.sync.run()
    else if (deletion.seq > this.head) this.#delete(deletion.seq, deletion.ms)
  }

  #published(frames: Frames): void {
    const last = lastOf(frames)
    this.#acknowledged?.note(this.room, last, frameMs(frameAt(frames, last)))
    this.#delivery.published(frames)
  }

  async #readPage(seq: number, length: number): Promise<{ epoch: number; page: Page }> {
    const { epoch } = this
    const last = this.#ring.first - 1
    return { epoch, page: await this.pages.read(this.room, epoch, seq, last, length) }
  }

  #delete(head: number, headMs: number): void {
    this.horizon.move({ first: head + 1, reason: 'deleted' })
    this.#reset('deleted', head, headMs)
  }

  #reset(reason: ResetReason, head: number, headMs: number): void {
    this.#fanOut.flush()
    this.sync.forgetDoubt()
    this.#delivery.restart(head, headMs)
    this.#events.reset(reason)
    for (const reader of [...this.#readers]) reader.reset(reason)
    this.#delivery.watch?.reset()
  }
}
