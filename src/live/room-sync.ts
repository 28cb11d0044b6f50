// Keeps what a room has delivered in step with the log in the store. A sync reads the room up to
// its head and fills the gaps, because messages are committed before they are published. It also
// compares the last delivered entries with the log: a failover may have lost sequences that were
// then given out again, and only this comparison shows it. Invariant: a sync that was asked for is
// repeated until it succeeds, and what was delivered is in doubt until it has been compared. While
// the store does not answer, readers are told after BEHIND_MS_MIN. What to do with readers is not
// decided here: a room's owner hears of resets and of falling behind.
import { framesOf } from '../message/frame.js'
import { timeOf } from '../message/message.js'
import { type ShardOf } from '../shares.js'
import { type AcknowledgedHeads } from '../store/acknowledged-heads.js'
import { type History } from '../store/history.js'
import { LOG_GONE_MS_MAX, type Log } from '../store/log.js'
import { type Delivery } from './delivery.js'
import { type ResetReason } from './fan-out.js'
import { type KnownHorizon } from './known-horizon.js'
import { type Pages } from './pages.js'
import { Retrier } from './retrier.js'

/** What a room asks of the store. */
export type RoomStore = {
  readonly shardOf: ShardOf
  readonly log: Pick<Log, 'head' | 'range' | 'horizon' | 'expires'>
  readonly history: Pick<History, 'range'>
  /** Learns which messages replicas have: only those are published. */
  readonly acknowledged?: Pick<AcknowledgedHeads, 'note'>
}

export type RoomSyncEvents = {
  /** What was delivered is void: readers start over, and the room goes on behind this head. */
  reset: (reason: ResetReason, head: number, headMs: number) => void
  /** The room may have messages that cannot be read now. Called once until they can be. */
  behind: () => void
  /** An attempt has failed; another one follows. */
  failed: (error: unknown) => void
}

/** How long the store is asked in vain before readers are told. A failover is over by then. */
export const BEHIND_MS_MIN = 5000

/**
 * How often a page is read anew because messages were changed meanwhile: a room in which somebody
 * changes messages all the time must not starve its readers.
 */
export const READS_MAX = 3

export class RoomSync {
  readonly #room: string
  readonly #log: RoomStore['log']
  readonly #pages: Pick<Pages, 'length' | 'gap'>
  readonly #delivery: Delivery
  readonly #horizon: KnownHorizon
  readonly #events: RoomSyncEvents
  readonly #retrier: Retrier
  /**
   * The entry that is to be compared with the log, together with those delivered after it: the last
   * one delivered when the comparison became necessary. Undefined once it is done.
   */
  #doubted: { readonly seq: number; readonly ms: number } | undefined
  #whenReady: Array<() => void> = []
  /** Since when the log has been missing. */
  #missingSince: number | undefined
  /** Since when the store was asked in vain. */
  #tryingSince: number | undefined
  #isBehind = false

  constructor(
    room: string,
    log: RoomStore['log'],
    pages: Pick<Pages, 'length' | 'gap'>,
    delivery: Delivery,
    horizon: KnownHorizon,
    events: RoomSyncEvents
  ) {
    this.#room = room
    this.#log = log
    this.#pages = pages
    this.#delivery = delivery
    this.#horizon = horizon
    this.#events = events
    this.#retrier = new Retrier(
      async () => {
        this.#tryingSince ??= performance.now()
        await this.#readUp()
        this.#tryingSince = undefined
        this.#isBehind = false
        this.#release()
      },
      error => {
        events.failed(error)
        this.#fallBehind()
      }
    )
  }

  /** The room may have messages that cannot be read now. Its readers have been told. */
  get isBehind(): boolean {
    return this.#isBehind
  }

  get isRunning(): boolean {
    return this.#retrier.isRunning
  }

  /** Resolves when the room has been read up to its head once, and is not behind. */
  async ready(): Promise<void> {
    if ((this.#delivery.hasBegun && !this.#isBehind) || this.#delivery.isClosed) return
    await new Promise<void>(resolve => {
      this.#whenReady.push(resolve)
    })
  }

  /**
   * Reads the room up to its head, checks what was delivered, and fills the gap. Retries until it
   * succeeds or is stopped.
   */
  async run(): Promise<void> {
    await this.#retrier.run()
  }

  /**
   * As `run`, but at half the cost in a room that never had a message: the answer that it still has
   * none is believed. Enough where nothing points to a message that was missed.
   */
  async glance(): Promise<void> {
    if (this.#delivery.hasBegun && this.#delivery.head === 0 && !this.isRunning) {
      const lookedAt = performance.now()
      try {
        const head = await this.#log.head(this.#room, false)
        this.#heard(lookedAt)
        if (head === undefined) return
      } catch (error) {
        this.#events.failed(error)
      }
    }
    await this.run()
  }

  /**
   * Nothing has been received for seconds, and it is not known when that will end. Readers are told
   * without a look at the log: thousands of rooms of one silent shard would ask in vain.
   */
  lost(): void {
    if (this.#isBehind || this.#delivery.isClosed) return
    this.#isBehind = true
    this.#events.behind()
  }

  /** What was delivered is void, so there is nothing left to compare. */
  forgetDoubt(): void {
    this.#doubted = undefined
  }

  /** After the delivery was closed: nothing is retried, and nobody waits any more. */
  stop(): void {
    this.#retrier.stop()
    this.#release()
  }

  async #readUp(): Promise<void> {
    const delivery = this.#delivery
    // Kept over failed attempts. While the log cannot be read, a new log may begin, and entries of
    // it may be delivered here. Those agree with the new log, so comparing them would show nothing.
    this.#doubted ??= { seq: delivery.head, ms: delivery.headMs }
    const { seq: known, ms: knownMs } = this.#doubted
    const lookedAt = performance.now()
    const entry = await this.#log.head(this.#room)
    this.#heard(lookedAt)
    const head = entry?.seq ?? 0
    const headMs = timeOf(entry?.reference)
    if (!delivery.hasBegun) {
      this.#doubted = undefined
      delivery.begin(head, headMs)
      return
    }
    if (this.#isMissing(head, known)) throw new Error('The log is gone')
    if (head < known) return this.#reset('rewound', head, headMs)
    if (known > 0) {
      const there = head === known ? entry : (await this.#log.range(this.#room, known, known))[0]
      // The entry may have been deleted, or have expired, although later ones are there.
      if (there === undefined) {
        if (await this.#resetIfGone(known + 1, head, headMs)) return
      } else if (timeOf(there.reference) !== knownMs) {
        return this.#reset('rewritten', head, headMs)
      }
    }
    if (await this.#hasOthersSince(known, head)) return this.#reset('rewritten', head, headMs)
    this.#doubted = undefined
    if (this.#log.expires(this.#room)) await this.#horizon.lookBack()
    await this.#fillGaps(head, headMs)
  }

  // What was published since the doubt arose may come from a log that is gone: late, and in place
  // of entries whose own publications were lost. So it is compared with the log, too, up to a page
  // of it.
  async #hasOthersSince(known: number, head: number): Promise<boolean> {
    const delivery = this.#delivery
    let compared = Math.max(known, Math.min(head, delivery.head) - this.#pages.length)
    while (compared < Math.min(head, delivery.head)) {
      const last = Math.min(head, delivery.head)
      const entries = await this.#log.range(this.#room, compared + 1, last)
      const isOther = entries.some(({ seq, reference }) => {
        const ms = reference === undefined ? undefined : delivery.msOf(seq)
        return ms !== undefined && ms !== timeOf(reference)
      })
      if (isOther) return true
      compared = last
    }
    return false
  }

  // If there are several gaps, each is read up to the early frames after it.
  async #fillGaps(head: number, headMs: number): Promise<void> {
    const delivery = this.#delivery
    const target = delivery.readableTo(head)
    for (let tries = 1; delivery.head < target && !delivery.isClosed; tries++) {
      const { epoch } = delivery
      const first = delivery.head + 1
      const last = Math.min(target, delivery.earlyFirst - 1)
      const page = await this.#pages.gap(this.#room, epoch, first, last)
      // Compared with what was asked for: publications may have moved the head meanwhile.
      if (page[0]?.seq !== first) {
        if (await this.#resetIfGone(delivery.head + 1, head, headMs)) return
        throw new Error('The log ends before its head')
      }
      // A message was changed during the read, so the page may hold a text that is gone.
      if (epoch !== delivery.epoch && tries < READS_MAX) continue
      tries = 0
      delivery.fill(framesOf(page))
    }
  }

  // A log can disappear for seconds when the owner of its half-moved slot dies (see Committer). It
  // is looked for again until LOG_GONE_MS_MAX; after that it counts as deleted.
  #isMissing(head: number, known: number): boolean {
    if (head > 0 || known === 0) {
      this.#missingSince = undefined
      return false
    }
    this.#missingSince ??= performance.now()
    return performance.now() < this.#missingSince + LOG_GONE_MS_MAX
  }

  /** Resets the room to its head if an entry that it relies on is gone. */
  async #resetIfGone(seq: number, head: number, headMs: number): Promise<boolean> {
    const { epoch } = this.#delivery
    const horizon = await this.#log.horizon(this.#room)
    if (seq >= horizon.first) return false
    if (epoch !== this.#delivery.epoch || horizon.first > head + 1) {
      throw new Error('Deleted meanwhile')
    }
    this.#horizon.move(horizon)
    this.#reset(horizon.reason, head, headMs)
    return true
  }

  // What was published after the head was read is void as well, so the log is read once more.
  #reset(reason: ResetReason, head: number, headMs: number): void {
    this.#events.reset(reason, head, headMs)
    void this.run()
  }

  #heard(at: number): void {
    this.#delivery.heardAt = Math.max(this.#delivery.heardAt, at)
  }

  // Readers would otherwise take the silence for a quiet room.
  #fallBehind(): void {
    const sinceMs = performance.now() - (this.#tryingSince ?? Infinity)
    if (sinceMs >= BEHIND_MS_MIN) this.lost()
  }

  #release(): void {
    for (const resolve of this.#whenReady) resolve()
    this.#whenReady = []
  }
}
