// A person who has streams in this process: which dialogs are followed for them, and what each of
// their streams must be told. Invariant: a change of the list is told once it is known here, and a
// lost publication is noticed, because the list is read again after every (re)subscription of the
// person's channel, for every stream that joins, and by the audit. Follows at most DIALOGS_MAX
// rooms, those in which the person has acted last. Streams are not told of others.
import { DIALOGS_MAX } from '../store/dialog-order.js'
import { type Inbox } from '../store/inbox.js'
import { type PersonNews } from '../store/person-news.js'
import { FollowedDialog } from './followed-dialog.js'
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
 * A change is told once more if it is older than the cursor by no more than this, because clocks
 * differ and a change may have been noticed late.
 */
const RESUMED_MS = 600_000
/** How often a list is read anew because news arrived meanwhile. */
const LOOKS_MAX = 5

export class Person implements Follower {
  readonly user: string
  readonly #inbox: PersonInbox
  readonly #watches: Watches
  readonly #events: PersonEvents
  readonly #dialogs = new Map<string, FollowedDialog>()
  readonly #streams = new Set<PersonStream>()
  readonly #sync: Retrier
  /** Counts news. A list that was read while news arrived may be older. */
  #news = 0
  /** Whether all rooms of the person are followed. */
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
    else this.#dialogs.get(news.read)?.mark(news.seq)
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
    this.#dialogs.get(watch.room)?.moved(isReset)
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
        if (dialog.changedMs < since) return
        if (dialog.isCurrent) stream.tell(room)
        else await dialog.ask()
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
          const dialog = this.#follow(room, { ms: Math.max(ms, mark.ms), marked: mark.seq })
          if (this.#hasSynced) void dialog.ask()
        } else {
          known.actedAt(Math.max(ms, mark.ms))
          known.listed(mark.seq)
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
    const known = this.#dialogs.get(room)
    // The news that they had left, and with it their mark, was lost.
    if (known !== undefined) void known.ask()
    if (known !== undefined || this.#dialogs.size >= DIALOGS_MAX) return
    void this.#follow(room, { ms: Date.now(), marked: 0 }).ask()
  }

  #follow(room: string, acted: { readonly ms: number; readonly marked: number }): FollowedDialog {
    const watch = this.#watches.watch(room, this)
    const dialog = new FollowedDialog(this.user, watch, this.#inbox, acted, {
      changed: () => {
        this.#tell(room)
      },
      left: () => {
        this.#left(room)
      },
      failed: error => {
        this.#events.failed('person', error)
      }
    })
    this.#dialogs.set(room, dialog)
    return dialog
  }

  #unfollow(room: string): boolean {
    const dialog = this.#dialogs.get(room)
    if (dialog === undefined) return false
    dialog.drop()
    this.#dialogs.delete(room)
    this.#watches.unwatch(room, this)
    return true
  }

  #tell(room: string): void {
    for (const stream of this.#streams) stream.tell(room)
  }

  #eventOf(room: string, mayShow: boolean): string | undefined {
    const dialog = this.#dialogs.get(room)
    return dialog === undefined
      ? `event: left\ndata: {"room":${JSON.stringify(room)}}`
      : dialog.event(mayShow)
  }
}
