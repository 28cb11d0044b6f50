// A person who has streams in this process: which dialogs are followed for them, and what each of
// their streams must be told. Invariant: a change of the list is told once it is known here, and a
// lost publication is noticed, because the list is read again after every (re)subscription of the
// person's channel, for every stream that joins, and by the audit. While the list or a followed
// room cannot be read, the streams know that what they were told may be out of date. Follows at
// most DIALOGS_MAX rooms, those in which the person has acted last. Streams are not told of others.
import { type LoopSlices } from '../loop-slices.js'
import { type LoopTurns } from '../loop-turns.js'
import { DIALOGS_MAX } from '../store/dialog-order.js'
import { type Inbox } from '../store/inbox.js'
import { type PersonNews } from '../store/person-news.js'
import { FollowedDialog } from './followed-dialog.js'
import { Outdated } from './outdated.js'
import { PersonStream, type PersonOutput } from './person-stream.js'
import { Retrier } from './retrier.js'
import { BEHIND_MS_MIN } from './room-sync.js'
import { type Follower, type RoomWatch } from './room-watch.js'

export type PersonInbox = Pick<Inbox, 'newest' | 'states' | 'has'>
export type Watches = {
  watch: (room: string, follower: Follower) => RoomWatch
  unwatch: (room: string, follower: Follower) => void
}
/** Shared by all people of a process, so that many of them at once do not hold up the others. */
export type Pace = {
  readonly turns: Pick<LoopTurns, 'next'>
  readonly slices: Pick<LoopSlices, 'add'>
}
export type PersonEvents = { failed: (what: 'person', error: unknown) => void }

/**
 * A change is told once more if it is older than the cursor by no more than this, because clocks
 * differ and a change may have been noticed late.
 */
const RESUMED_MS = 600_000
/**
 * A cursor that is further ahead than this came from a process with a wrong clock, and says nothing
 * of what the client has seen.
 */
const AHEAD_MS_MAX = 60_000
/** How often a list is read anew because news arrived meanwhile. */
const LOOKS_MAX = 5
/** Stands for the list among the names of rooms, which are never empty. */
const LIST = ''

export class Person implements Follower {
  readonly user: string
  readonly #inbox: PersonInbox
  readonly #watches: Watches
  readonly #events: PersonEvents
  readonly #pace: Pace
  readonly #dialogs = new Map<string, FollowedDialog>()
  readonly #streams = new Set<PersonStream>()
  readonly #sync: Retrier
  /** Counts news. A list that was read while news arrived may be older. */
  #news = 0
  /** Whether all rooms of the person are followed. */
  #isComplete = true
  #hasSynced = false
  #isClosed = false
  readonly #outdated = new Outdated(
    () => {
      for (const stream of this.#streams) stream.event(this.#behindEvent)
    },
    () => {
      if (this.#isClosed) return
      for (const stream of this.#streams) if (stream.hasStarted) void this.#tellLive(stream)
    }
  )
  /** Since when the list was asked for in vain. */
  #tryingSince: number | undefined
  #whenSynced: Array<() => void> = []

  constructor(
    user: string,
    inbox: PersonInbox,
    watches: Watches,
    events: PersonEvents,
    pace: Pace
  ) {
    this.user = user
    this.#inbox = inbox
    this.#watches = watches
    this.#events = events
    this.#pace = pace
    this.#sync = new Retrier(
      async () => {
        this.#tryingSince ??= performance.now()
        await this.#readList()
        this.#tryingSince = undefined
        for (const resolve of this.#whenSynced.splice(0)) resolve()
      },
      error => {
        events.failed('person', error)
        const sinceMs = performance.now() - (this.#tryingSince ?? Infinity)
        if (sinceMs >= BEHIND_MS_MIN) this.lost()
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
    const stream = new PersonStream(
      output,
      room => this.#eventOf(room, mayShow(room)),
      () => this.#outdated.sinceMs,
      this.#pace.slices
    )
    this.#streams.add(stream)
    if (!this.#outdated.isEmpty) stream.event(this.#behindEvent)
    this.#start(stream, after).catch((error: unknown) => {
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
    this.#outdated.delete(room)
    return true
  }

  /** News of the list cannot be heard or read, and it is not known when that will end. */
  lost(): void {
    if (this.#outdated.has(LIST) || this.#isClosed) return
    this.#outdated.add(LIST, new Promise(resolve => this.#whenSynced.push(resolve)))
  }

  fellBehind({ room }: RoomWatch): void {
    const dialog = this.#dialogs.get(room)
    if (dialog !== undefined) this.#outdated.add(room, this.#catchUp(dialog))
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

  async #start(stream: PersonStream, after: number | undefined): Promise<void> {
    await this.sync()
    // All streams that wait for the same list continue at once.
    await this.#pace.turns.next()
    const isUnknown = after === undefined || after > Date.now() + AHEAD_MS_MAX
    const since = isUnknown ? -Infinity : after - RESUMED_MS
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
    await stream.told()
    stream.hasStarted = true
    await this.#tellLive(stream)
  }

  /** After what the stream has not been told yet. */
  async #tellLive(stream: PersonStream): Promise<void> {
    await stream.told()
    if (this.#streams.has(stream) && this.#outdated.isEmpty && !this.#isClosed) {
      stream.event(this.#liveEvent)
    }
  }

  async #catchUp(dialog: FollowedDialog): Promise<void> {
    await dialog.watch.ready()
    if (!dialog.isCurrent) await dialog.ask()
  }

  get #behindEvent(): string {
    return `event: behind\ndata: {"user":${JSON.stringify(this.user)}}`
  }

  get #liveEvent(): string {
    const names = JSON.stringify([...this.#dialogs.keys()])
    return `event: live\ndata: {"user":${JSON.stringify(this.user)},"rooms":${names},"complete":${this.#isComplete}}`
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
        else if (this.#unfollow(room)) this.#outdated.delete(room)
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
    if (watch.isBehind) this.fellBehind(watch)
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
