// A person who has streams in this process: the dialogs that are followed for them, and what each
// of their streams must be told. Invariant: what is known of a dialog is the store's answer, or was
// counted on from it without a gap. If that is uncertain (a reset, a mark set elsewhere, an entry
// that is not a message), the store is asked again. The list is read again after every
// (re)subscription of the person's channel, for every stream that joins, and periodically, so lost
// publications are noticed. Follows at most DIALOGS_MAX rooms, those with the person's newest own
// acts; streams are not told of others.
import { DIALOGS_MAX } from '../store/dialog-order.js'
import { type Dialog, dialogJson, type Inbox } from '../store/inbox.js'
import { type PersonNews } from '../store/person-news.js'
import { Pause } from './pause.js'
import { PersonStream, type PersonOutput } from './person-stream.js'
import { Retrier } from './retrier.js'
import { type Follower, type RoomWatch } from './room-watch.js'

export type PersonInbox = Pick<Inbox, 'newest' | 'states' | 'has'>
export type Watches = {
  watch: (room: string, follower: Follower) => RoomWatch
  unwatch: (room: string, follower: Follower) => void
}
export type PersonEvents = { failed: (what: 'person', error: unknown) => void }

/**
 * A change that is this much older than a stream's cursor is told once more, because clocks differ
 * and a change may have been noticed late.
 */
const RESUMED_MS = 600_000
const UNREAD_MORE = 100
/** A mark that the store does not have for this long was lost with a master. */
const MARK_LOST_MS = 10_000
/** Of a person whose list changes while it is read. */
const LOOKS_MAX = 5

type Followed = {
  readonly watch: RoomWatch
  /** When the person joined or wrote, and when they last said how far they have read. */
  actedMs: number
  /** How far they have read, by the last news. */
  marked: number
  /** Since when the store's mark is older than that. */
  olderSince: number | undefined
  /** From where `unread` is counted: the mark that the store knew when it last answered. */
  read: number
  /** Up to which sequence `unread` is counted; -1 if only the store knows. */
  counted: number
  unread: number
  /** As the store last reported it, if that is newer than what the room has delivered. */
  last: string
  /** The store is being asked. */
  asking: Promise<void> | undefined
  /** Something has happened since, so the store is asked once more. */
  isOutdated: boolean
}

export class Person implements Follower {
  readonly user: string
  readonly #inbox: PersonInbox
  readonly #watches: Watches
  readonly #events: PersonEvents
  readonly #dialogs = new Map<string, Followed>()
  readonly #streams = new Set<PersonStream>()
  readonly #sync: Retrier
  /** Counts news. A list that was read while news arrived may be older. */
  #news = 0
  /** All rooms of the person are followed. */
  #isComplete = true
  #hasSynced = false
  #isClosed = false

  constructor(user: string, inbox: PersonInbox, watches: Watches, events: PersonEvents) {
    this.user = user
    this.#inbox = inbox
    this.#watches = watches
    this.#events = events
    this.#sync = new Retrier(
      () => this.#readList(),
      error => {
        events.failed('person', error)
      }
    )
  }

  get streamCount(): number {
    return this.#streams.size
  }

  /**
   * Tells a stream of the dialogs that have changed since `after` (ms; undefined: of all), then
   * `event: live`, and from then on of every change. Returns the function that removes the stream.
   * @param mayShow the rooms whose last message this stream may show
   */
  join(
    output: PersonOutput,
    after: number | undefined,
    mayShow: (room: string) => boolean = () => true
  ): () => void {
    const stream = new PersonStream(output, room => this.#eventOf(room, mayShow(room)))
    this.#streams.add(stream)
    this.#start(stream, output, after).catch((error: unknown) => {
      this.#events.failed('person', error)
    })
    return () => {
      this.#streams.delete(stream)
    }
  }

  /** Reads the list again. */
  async sync(): Promise<void> {
    await this.#sync.run()
  }

  hear(news: PersonNews): void {
    this.#news++
    if ('joined' in news) this.#joined(news.joined)
    else if ('left' in news) this.removed(news.left)
    else this.#marked(news.read, news.seq)
  }

  /**
   * The person has left a room, or was removed. That may be old news: their next message there
   * makes them a member again, and is told by another process. So the list is read again.
   */
  removed(room: string): void {
    this.#news++
    if (!this.#left(room)) return
    void this.sync()
  }

  /** @returns whether the room was followed */
  #left(room: string): boolean {
    if (!this.#unfollow(room)) return false
    this.#tell(room)
    return true
  }

  /** A room has new entries. */
  moved(watch: RoomWatch, isReset: boolean): void {
    const dialog = this.#dialogs.get(watch.room)
    if (dialog === undefined) return
    if (isReset) dialog.counted = -1
    // The store's answer is newer than what this process has delivered.
    if (dialog.counted >= watch.head) return
    const more = dialog.counted < 0 ? undefined : watch.countSince(dialog.counted, this.user)
    if (more === undefined || watch.last === undefined) {
      void this.#ask(watch.room)
      return
    }
    countOn(dialog, more, watch.last)
    this.#tell(watch.room)
  }

  close(): void {
    this.#isClosed = true
    this.#sync.stop()
    for (const room of [...this.#dialogs.keys()]) this.#unfollow(room)
  }

  async #start(
    stream: PersonStream,
    output: PersonOutput,
    after: number | undefined
  ): Promise<void> {
    await this.sync()
    const since = after === undefined ? -Infinity : after - RESUMED_MS
    const rooms = [...this.#dialogs.keys()]
    await Promise.all(
      rooms.map(async room => {
        const dialog = this.#dialogs.get(room)
        if (dialog === undefined) return
        await dialog.watch.ready()
        if (Math.max(dialog.actedMs, dialog.watch.headMs) < since) return
        // Asking the store tells every stream.
        const isOlder = dialog.counted < dialog.watch.head || dialog.read < dialog.marked
        if (isOlder || dialog.counted < 0) await this.#ask(room)
        else stream.tell(room)
      })
    )
    if (output.hasEnded) return
    const names = JSON.stringify([...this.#dialogs.keys()])
    stream.event(
      `event: live\ndata: {"user":${JSON.stringify(this.user)},"rooms":${names},"complete":${this.#isComplete}}`
    )
  }

  async #readList(): Promise<void> {
    for (let looks = 1; ; looks++) {
      const news = this.#news
      const listed = await this.#inbox.newest(this.user, DIALOGS_MAX)
      if (this.#isClosed) return
      // A list older than the news would undo them.
      if (news !== this.#news && looks < LOOKS_MAX) continue
      this.#isComplete = listed.length < DIALOGS_MAX
      for (const { room, ms, mark } of listed) {
        const known = this.#dialogs.get(room)
        if (known === undefined) {
          const dialog = this.#follow(room)
          dialog.actedMs = Math.max(ms, mark.ms)
          dialog.marked = mark.seq
          if (this.#hasSynced) void this.#ask(room)
        } else {
          known.actedMs = Math.max(known.actedMs, ms, mark.ms)
          if (mark.seq > known.marked) this.#marked(room, mark.seq)
        }
      }
      const rooms = new Set(listed.map(({ room }) => room))
      for (const room of [...this.#dialogs.keys()]) {
        if (rooms.has(room)) continue
        if (this.#isComplete || !(await this.#inbox.has(this.user, room))) this.#left(room)
        else this.#unfollow(room)
      }
      this.#hasSynced = true
      return
    }
  }

  #joined(room: string): void {
    if (this.#dialogs.has(room) || this.#dialogs.size >= DIALOGS_MAX) return
    this.#follow(room)
    void this.#ask(room)
  }

  #marked(room: string, seq: number): void {
    const dialog = this.#dialogs.get(room)
    if (dialog === undefined || seq <= dialog.marked) return
    dialog.marked = seq
    dialog.actedMs = Date.now()
    void this.#ask(room)
  }

  #follow(room: string): Followed {
    const dialog: Followed = {
      watch: this.#watches.watch(room, this),
      actedMs: Date.now(),
      marked: 0,
      olderSince: undefined,
      read: 0,
      counted: -1,
      unread: 0,
      last: 'null',
      asking: undefined,
      isOutdated: false
    }
    this.#dialogs.set(room, dialog)
    // The room begins at its head, and delivers what comes after it. The store may have answered
    // before.
    void dialog.watch.ready().then(() => {
      if (this.#dialogs.get(room) === dialog && dialog.counted >= 0) this.moved(dialog.watch, false)
    })
    return dialog
  }

  #unfollow(room: string): boolean {
    if (!this.#dialogs.delete(room)) return false
    this.#watches.unwatch(room, this)
    return true
  }

  // Asks the store for the current state of a dialog until it answers, and tells every stream. At
  // most one request per dialog is in flight.
  async #ask(room: string): Promise<void> {
    const dialog = this.#dialogs.get(room)
    if (dialog === undefined) return
    dialog.isOutdated = true
    dialog.asking ??= this.#askNow(room, dialog)
    await dialog.asking
  }

  async #askNow(room: string, dialog: Followed): Promise<void> {
    try {
      await this.#askUntilAnswered(room, dialog)
    } finally {
      // Not in `finally` of the promise, which runs a turn later: a call in between would not be
      // heard.
      dialog.asking = undefined
    }
  }

  async #askUntilAnswered(room: string, dialog: Followed): Promise<void> {
    const pause = new Pause()
    while (dialog.isOutdated) {
      dialog.isOutdated = false
      try {
        const state = (await this.#inbox.states(this.user, [room])).get(room)
        if (this.#dialogs.get(room) !== dialog) return
        if (state === undefined) {
          this.#left(room)
          return
        }
        this.#take(dialog, state)
      } catch (error) {
        this.#events.failed('person', error)
        dialog.isOutdated = true
      }
      // Not at once: the process may have what a failover took from the store.
      if (dialog.isOutdated) await pause.wait()
      if (this.#dialogs.get(room) !== dialog) return
    }
    this.#tell(room)
  }

  // The process may have delivered more than the store had when it answered, or less.
  #take(dialog: Followed, { head, read, unread, last }: Dialog): void {
    if (read >= dialog.marked) dialog.olderSince = undefined
    else dialog.olderSince ??= performance.now()
    const isOlder =
      dialog.olderSince !== undefined && performance.now() < dialog.olderSince + MARK_LOST_MS
    if (!isOlder) {
      dialog.marked = read
      dialog.olderSince = undefined
    }
    dialog.read = read
    dialog.counted = head
    dialog.unread = unread
    dialog.last = last
    const { watch } = dialog
    if (isOlder) dialog.isOutdated = true
    if (head >= watch.head) return
    const more = watch.countSince(head, this.user)
    if (more === undefined || watch.last === undefined) dialog.isOutdated = true
    else countOn(dialog, more, watch.last)
  }

  #tell(room: string): void {
    for (const stream of this.#streams) stream.tell(room)
  }

  // Undefined if only the store knows; it is told once the store has answered.
  #eventOf(room: string, mayShow: boolean): string | undefined {
    const dialog = this.#dialogs.get(room)
    if (dialog === undefined) return `event: left\ndata: {"room":${JSON.stringify(room)}}`
    const { counted: head, read, unread } = dialog
    const last = mayShow ? dialog.last : 'null'
    return head < 0
      ? undefined
      : `event: room\ndata: ${dialogJson({ room, head, read, unread, last })}`
  }
}

function countOn(dialog: Followed, more: number, last: string): void {
  dialog.unread = Math.min(UNREAD_MORE, dialog.unread + more)
  dialog.counted = dialog.watch.head
  dialog.last = last
}
