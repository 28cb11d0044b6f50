// Puts a room into the list of whoever writes there. The commit has already made the writer a
// member of the room; only the list is updated here. The POST does not wait for it. It happens at
// most once per REMEMBERED_MS for each user and room, because the list is ordered by the room's
// last message anyway. A crash before it leaves a member who does not see the room (members.ts).
// Bounded: beyond PENDING_MAX at the same time an update is skipped, reported as a fault, and made
// up for by the next message.
import pLimit, { type LimitFunction } from 'p-limit'
import { type Message } from '../message/message.js'
import { Remembered } from '../remembered.js'
import { type Members } from './members.js'

const REMEMBERED_MS = 60_000
/** For each generation. A user's and a room's name take about 200 bytes. */
const REMEMBERED_MAX = 50_000
const PENDING_MAX = 10_000
const AT_ONCE = 64

export class Touches {
  readonly #members: Pick<Members, 'list'>
  readonly #deadlineMs: number
  readonly #onFault: (error: unknown) => void
  readonly #limit: LimitFunction = pLimit(AT_ONCE)
  /** Two generations, so that the older half is always the one forgotten. */
  #recent = new Set<string>()
  #older = new Set<string>()
  /**
   * Who was removed and may write again. Their room may be in their list already, by an update that
   * was under way when they were removed; their streams do not follow it any more.
   */
  readonly #removed = new Remembered<true>()
  #turnedAt = performance.now()
  readonly #pending = new Map<string, Set<Promise<void>>>()
  #pendingCount = 0

  constructor(
    members: Pick<Members, 'list'>,
    options: { readonly deadlineMs: number; readonly onFault: (error: unknown) => void }
  ) {
    this.#members = members
    this.#deadlineMs = options.deadlineMs
    this.#onFault = options.onFault
  }

  /** Notes that messages of a room were committed. */
  wrote(room: string, messages: readonly Message[]): void {
    for (const { user, ms } of messages) {
      // Names have no braces.
      const key = `${room}{${user}`
      if (this.#recent.has(key) || this.#older.has(key)) continue
      this.#begin(key, room, user, ms)
    }
  }

  /**
   * Forgets a user's state in a room: their next message puts the room into their list. Without a
   * user, that of everybody in the room.
   */
  forget(room: string, user: string | undefined): void {
    if (user === undefined) {
      for (const known of [this.#recent, this.#older]) {
        for (const key of known) if (key.startsWith(`${room}{`)) known.delete(key)
      }
      return
    }
    const key = `${room}{${user}`
    this.#recent.delete(key)
    this.#older.delete(key)
    this.#removed.set(key, true)
  }

  /** Resolves when the rooms that a user has written in so far are in their list, or given up. */
  async settled(user: string): Promise<void> {
    const pending = this.#pending.get(user)
    if (pending !== undefined) await Promise.all(pending)
  }

  async allSettled(): Promise<void> {
    await Promise.all([...this.#pending.values()].flatMap(pending => [...pending]))
  }

  #begin(key: string, room: string, user: string, ms: number): void {
    if (this.#pendingCount >= PENDING_MAX) {
      this.#onFault(new Error(`More than ${PENDING_MAX} users wait to see their room`))
      return
    }
    this.#remember(key)
    const isBack = this.#removed.delete(key)
    this.#pendingCount++
    const pending = this.#pending.get(user) ?? new Set()
    this.#pending.set(user, pending)
    const touch: Promise<void> = this.#limit(() =>
      this.#members.list(room, user, ms, performance.now() + this.#deadlineMs, isBack)
    )
      .catch((error: unknown) => {
        this.forget(room, user)
        this.#onFault(error)
      })
      .finally(() => {
        this.#pendingCount--
        pending.delete(touch)
        if (pending.size === 0) this.#pending.delete(user)
      })
    pending.add(touch)
  }

  #remember(key: string): void {
    const now = performance.now()
    if (this.#recent.size >= REMEMBERED_MAX || now - this.#turnedAt > REMEMBERED_MS / 2) {
      this.#older = this.#recent
      this.#recent = new Set()
      this.#turnedAt = now
    }
    this.#recent.add(key)
  }
}
