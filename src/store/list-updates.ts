// Puts a room into its writers' lists of rooms. The commit has already made the writer a member of
// the room; only the list is updated here, and the POST does not wait for that. A crash before the
// update leaves a member who does not see the room (members.ts).
//
// An update costs a script and a WAIT, so it is rare: a user and a room are updated at most once
// per REMEMBERED_MS, because the list is ordered by the room's last message anyway. It begins at
// once, because the same person may ask another process for the list. Updates are bounded: while
// PENDING_MAX are in flight, another one is skipped and reported as a fault. The next message makes
// up for it. An update that fails is tried again a few times, because the next message may be long
// in coming.
import { backoffMs } from '../backoff.js'
import { DialogsError } from '../errors.js'
import { FairTurns } from '../fair-turns.js'
import { type ShardOf } from '../shares.js'
import { userSlot } from './keys.js'
import { type Message } from '../message/message.js'
import { Remembered } from '../remembered.js'
import { type Members } from './members.js'

const REMEMBERED_MS = 600_000
/** For each of the two maps. A user's and a room's name take about 200 bytes. */
const REMEMBERED_MAX = 50_000
const PENDING_MAX = 10_000
const AT_ONCE = 256

/** Beyond this, all pairs that were updated before are out of date. */
const DELETED_MAX = 10_000
/** How often an update is tried. The pauses add up to 17 to 35 s. */
const ATTEMPTS_MAX = 4
const PAUSE_MS_MIN = 5000
const PAUSE_MS_MAX = 20_000
/** How many failed updates wait to be tried again. Beyond this, the next message has to do it. */
const WAITING_MAX = 10_000

/**
 * The generation of the message: a deletion of the room takes it out of the lists, and this process
 * may not have heard of that. And how many deletions it had heard of by then.
 */
type Updated = { readonly generation: number; readonly deletions: number }
type Update = {
  readonly room: string
  readonly user: string
  readonly ms: number
  readonly generation: number
}

export class ListUpdates {
  readonly #members: Pick<Members, 'addToList'>
  readonly #deadlineMs: number
  readonly #onFault: (error: unknown) => void
  readonly #fair: FairTurns
  /**
   * Pairs that were updated lately. In two maps: forgetting the older one keeps the newer half.
   */
  #recent = new Map<string, Updated>()
  #older = new Map<string, Updated>()
  /**
   * Rooms that were deleted, each with the number of its last deletion. Pairs that were updated
   * before that are out of date. Looking for all pairs of the room instead took 4 to 11 ms for each
   * deletion with 98,000 pairs.
   */
  readonly #deleted = new Map<string, number>()
  #deletions = 0
  /** Up to this deletion, rooms are not in `#deleted` any more: any room may be meant. */
  #forgotten = 0
  /**
   * Users who were removed from a room and may write there again. An update that was in flight
   * during the removal may have left the room in their list, although their streams do not follow
   * it any more.
   */
  readonly #removed = new Remembered<true>()
  #turnedAt = performance.now()
  /** By user: updates that are in flight. */
  readonly #pending = new Map<string, Set<Promise<void>>>()
  #pendingCount = 0
  /** Of failed updates, until they are tried again. */
  readonly #waiting = new Set<NodeJS.Timeout>()

  constructor(
    members: Pick<Members, 'addToList'>,
    options: {
      readonly deadlineMs: number
      readonly shardOf: ShardOf
      readonly onFault: (error: unknown) => void
    }
  ) {
    this.#members = members
    this.#deadlineMs = options.deadlineMs
    this.#onFault = options.onFault
    this.#fair = new FairTurns(AT_ONCE, options.shardOf)
  }

  /** Notes that messages of a room were committed, all of one generation. */
  wrote(room: string, messages: readonly Message[], generation: number): void {
    for (const { user, ms, seq } of messages) {
      const key = keyOf(room, user)
      const known = this.#known(key)
      // If the room was lost and begins anew, its members were lost as well, and streams have
      // dropped it. It may still be in their lists.
      const isFirst = seq === generation + 1
      if (isFirst || (known !== undefined && known.deletions < this.#lastDeletionOf(room))) {
        this.forget(room, user)
      } else if (known !== undefined && known.generation >= generation) continue
      this.#begin(key, { room, user, ms, generation }, 1)
    }
  }

  /**
   * Forgets that a user is up to date in a room, so that their next message puts the room into
   * their list. Without a user, does this for everybody in the room.
   */
  forget(room: string, user: string | undefined): void {
    if (user === undefined) {
      if (this.#deleted.size >= DELETED_MAX) {
        this.#deleted.clear()
        this.#forgotten = this.#deletions
      }
      this.#deleted.set(room, ++this.#deletions)
      return
    }
    const key = keyOf(room, user)
    this.#recent.delete(key)
    this.#older.delete(key)
    this.#removed.set(key, true)
  }

  /**
   * Resolves when every room that a user has written in so far is in their list, or was given up.
   */
  async settled(user: string): Promise<void> {
    const pending = this.#pending.get(user)
    if (pending !== undefined) await Promise.all(pending)
  }

  /** Resolves when no update is in flight. Gives up those that wait to be tried again. */
  async allSettled(): Promise<void> {
    for (const timer of this.#waiting) clearTimeout(timer)
    this.#waiting.clear()
    await Promise.all([...this.#pending.values()].flatMap(pending => [...pending]))
  }

  #lastDeletionOf(room: string): number {
    return this.#deleted.get(room) ?? this.#forgotten
  }

  #begin(key: string, update: Update, attempt: number): void {
    if (this.#pendingCount >= PENDING_MAX) {
      this.#onFault(new Error(`More than ${PENDING_MAX} users wait to see their room`))
      return
    }
    this.#remember(key, update.generation)
    this.#pendingCount++
    const { user } = update
    const pending = this.#pending.get(user) ?? new Set()
    this.#pending.set(user, pending)
    const touch: Promise<void> = this.#fair
      .run({ client: user, bytes: 0, slot: userSlot(user) }, () => this.#list(update, attempt))
      .finally(() => {
        this.#pendingCount--
        pending.delete(touch)
        if (pending.size === 0) this.#pending.delete(user)
      })
    pending.add(touch)
  }

  async #list(update: Update, attempt: number): Promise<void> {
    const { room, user, ms } = update
    const isBack = this.#removed.delete(keyOf(room, user))
    try {
      await this.#members.addToList(room, user, ms, performance.now() + this.#deadlineMs, isBack)
    } catch (error) {
      this.forget(room, user)
      this.#onFault(error)
      const isFull = error instanceof DialogsError && error.code === 'TOO_MANY_ROOMS'
      if (!isFull && attempt < ATTEMPTS_MAX) this.#tryAgainLater(update, attempt)
    }
  }

  // It may have been carried out all the same. Then the streams of the user have not been told,
  // which the next attempt does.
  #tryAgainLater(update: Update, attempt: number): void {
    if (this.#waiting.size >= WAITING_MAX) return
    const timer = setTimeout(
      () => {
        this.#waiting.delete(timer)
        const key = keyOf(update.room, update.user)
        // Unless a message was faster.
        if ((this.#known(key)?.generation ?? -1) < update.generation) {
          this.#begin(key, update, attempt + 1)
        }
      },
      backoffMs(attempt - 1, PAUSE_MS_MIN, PAUSE_MS_MAX)
    )
    timer.unref()
    this.#waiting.add(timer)
  }

  #known(key: string): Updated | undefined {
    return this.#recent.get(key) ?? this.#older.get(key)
  }

  #remember(key: string, generation: number): void {
    const now = performance.now()
    if (this.#recent.size >= REMEMBERED_MAX || now - this.#turnedAt > REMEMBERED_MS / 2) {
      this.#older = this.#recent
      this.#recent = new Map()
      this.#turnedAt = now
    }
    this.#recent.set(key, { generation, deletions: this.#deletions })
  }
}

// Names have no braces, so a brace separates them.
const keyOf = (room: string, user: string): string => `${room}{${user}`
