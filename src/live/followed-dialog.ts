// One dialog of a person who has streams in this process: its unread count and its last message.
// Invariant: what is known is the store's answer, or was counted on from it without a gap. If that
// is uncertain (a reset, a mark set elsewhere, an entry that is not a message), the store is asked
// again until it answers. At most one request for a dialog is in flight. Does not decide which
// rooms are followed, and writes to no stream.
import { type Dialog, dialogJson, type Inbox } from '../store/inbox.js'
import { Pause } from './pause.js'
import { type RoomWatch } from './room-watch.js'

export type DialogEvents = {
  /** The dialog's state has changed: tell the streams. */
  changed: () => void
  /** The store says that the person is not a member of the room. */
  left: () => void
  failed: (error: unknown) => void
}

/** The count of unread messages at which counting ends: it stands for "more than 99". */
const UNREAD_MORE = 100
/** A read mark that the store does not have for this long was lost with a master. */
const MARK_LOST_MS = 10_000

export class FollowedDialog {
  readonly watch: RoomWatch
  readonly #user: string
  readonly #inbox: Pick<Inbox, 'states'>
  readonly #events: DialogEvents
  /** When the person joined or wrote, and when they last said how far they have read. */
  #actedMs: number
  /** How far they have read, by the last news. */
  #marked: number
  /** Since when the store's mark is older than that. */
  #olderSince: number | undefined
  /** From where `unread` is counted: the mark that the store had when it last answered. */
  #read = 0
  /** Up to which sequence `unread` is counted; -1 if only the store knows. */
  #counted = -1
  #unread = 0
  /** The last message as JSON: the store's, or a newer one that the room has delivered. */
  #last = 'null'
  #asking: Promise<void> | undefined
  /** The room may have been deleted, and the membership with it. */
  #mayHaveLeft = true
  /** Something has happened since the store was asked, so it is asked once more. */
  #isOutdated = false
  #isDropped = false

  /** @param acted when the person last acted in the room (ms), and how far they have read it */
  constructor(
    user: string,
    watch: RoomWatch,
    inbox: Pick<Inbox, 'states'>,
    acted: { readonly ms: number; readonly marked: number },
    events: DialogEvents
  ) {
    this.#user = user
    this.watch = watch
    this.#inbox = inbox
    this.#actedMs = acted.ms
    this.#marked = acted.marked
    this.#events = events
    // The room begins at its head, and delivers what comes after it. The store may have answered
    // before.
    void watch.ready().then(() => {
      if (!this.#isDropped && this.#counted >= 0) this.moved(false)
    })
  }

  /** When the dialog last changed: by an act of the person, or by a message (ms). */
  get changedMs(): number {
    return Math.max(this.#actedMs, this.watch.headMs)
  }

  /** Whether the state is complete; otherwise `ask` completes it, and tells every stream. */
  get isCurrent(): boolean {
    return this.#counted >= 0 && this.#counted >= this.watch.head && this.#read >= this.#marked
  }

  /**
   * `event: …\ndata: …` with the dialog's state; undefined if only the store knows it. The streams
   * are told once the store has answered.
   */
  event(mayShowLast: boolean): string | undefined {
    if (this.#counted < 0) return undefined
    const { room } = this.watch
    const last = mayShowLast ? this.#last : 'null'
    return `event: room\ndata: ${dialogJson({ room, head: this.#counted, read: this.#read, unread: this.#unread, last })}`
  }

  /** The person is known to have acted in the room at this time (ms). */
  actedAt(ms: number): void {
    this.#actedMs = Math.max(this.#actedMs, ms)
  }

  /** The person has read up to a sequence. */
  mark(seq: number): void {
    if (seq <= this.#marked) return
    this.#marked = seq
    this.#actedMs = Date.now()
    void this.ask()
  }

  /**
   * The store's mark, read with the list. It goes back if the person has left the room and come
   * back.
   */
  listed(seq: number): void {
    if (this.#counted >= 0 && seq < this.#read) void this.ask()
    else this.mark(seq)
  }

  /** The room has new entries. */
  moved(isReset: boolean): void {
    if (isReset) {
      this.#counted = -1
      this.#mayHaveLeft = true
    }
    // The store's answer is newer than what this process has delivered.
    if (this.#counted >= this.watch.head) return
    if (this.#counted < 0 || !this.#countOn()) void this.ask()
    else this.#events.changed()
  }

  /** Asks the store for the current state until it answers. Then every stream is told. */
  async ask(): Promise<void> {
    this.#isOutdated = true
    this.#asking ??= this.#ask()
    await this.#asking
  }

  /** The room is not followed any more: answers on their way are ignored. */
  drop(): void {
    this.#isDropped = true
  }

  async #ask(): Promise<void> {
    try {
      await this.#askUntilAnswered()
    } finally {
      // Not in `finally` of the promise, which runs a turn later: a call in between would not be
      // heard.
      this.#asking = undefined
    }
  }

  async #askUntilAnswered(): Promise<void> {
    const pause = new Pause()
    const { room } = this.watch
    while (this.#isOutdated) {
      this.#isOutdated = false
      const isCertain = this.#mayHaveLeft
      this.#mayHaveLeft = false
      try {
        const state = (await this.#inbox.states(this.#user, [room], isCertain)).get(room)
        if (this.#isDropped) return
        if (state === undefined) return this.#events.left()
        this.#take(state)
      } catch (error) {
        this.#events.failed(error)
        this.#isOutdated = true
        this.#mayHaveLeft ||= isCertain
      }
      // Not at once: the process may have what a failover took from the store.
      if (this.#isOutdated) await pause.wait()
      if (this.#isDropped) return
    }
    this.#events.changed()
  }

  // The process may have delivered more than the store had when it answered, or less.
  #take({ head, read, unread, last }: Dialog): void {
    if (read >= this.#marked) this.#olderSince = undefined
    else this.#olderSince ??= performance.now()
    const isOlder =
      this.#olderSince !== undefined && performance.now() < this.#olderSince + MARK_LOST_MS
    if (!isOlder) {
      this.#marked = read
      this.#olderSince = undefined
    }
    this.#read = read
    this.#counted = head
    this.#unread = unread
    this.#last = last
    if (isOlder) this.#isOutdated = true
    if (head < this.watch.head && !this.#countOn()) this.#isOutdated = true
  }

  /** Counts what the room has delivered after `counted`. @returns false if only the store can */
  #countOn(): boolean {
    const { head, last } = this.watch
    const more = this.watch.countSince(this.#counted, this.#user)
    if (more === undefined || last === undefined) return false
    this.#unread = Math.min(UNREAD_MORE, this.#unread + more)
    this.#counted = head
    this.#last = last
    return true
  }
}
