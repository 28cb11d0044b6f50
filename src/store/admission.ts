// The queue of messages that have been accepted and are not finished yet, whatever step they have
// reached. Invariant: the queue is bounded in number and bytes, and a message beyond a limit is
// refused at once. So is one that needs a shard that holds too much of the queue (shares.ts). Every
// accepted message gets an answer by its deadline, even if Redis hangs. But it keeps its place in
// the queue until its work has really ended, because the work takes memory.
import { setTimeout as sleep } from 'node:timers/promises'
import { DialogsError } from '../errors.js'
import { type ShardOf, type Share, Shares } from '../shares.js'

export type AdmissionOptions = {
  readonly queueLengthMax: number
  readonly queueBytesMax: number
  readonly storeDeadlineMs: number
}

/** Places in the queue of messages whose next step needs a shard other than that of their room. */
export type Steps = {
  /** @throws DialogsError OVERLOADED if the slot's shard has too many places */
  readonly enter: (slot: number) => Share
  readonly leave: (share: Share) => void
}

/** Memory that a waiting message takes besides its text: measured on the heap, rounded up. */
const PENDING_BYTES = 1024
const SETTLED_POLL_MS = 5

type Taken = { readonly deadline: number; readonly expire: () => void }

export class Admission {
  readonly #options: AdmissionOptions
  /** By the shard of the room, which every message needs in the end. */
  readonly #lengths: Shares
  readonly #bytesShares: Shares
  readonly #steps: Shares
  #length = 0
  #bytes = 0
  /** Oldest first. All messages have the same time limit, so one timer is enough. */
  readonly #taken = new Set<Taken>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: AdmissionOptions, shardOf: ShardOf) {
    this.#options = options
    this.#lengths = new Shares(shardOf)
    this.#bytesShares = new Shares(shardOf)
    this.#steps = new Shares(shardOf)
  }

  get length(): number {
    return this.#length
  }

  /**
   * Accepts a message and runs its work.
   * @param slot the slot of its room
   * @param work gets the deadline, on the clock of performance.now()
   * @param onFailed called when the work fails, even if that is after the answer at the deadline
   * @throws DialogsError OVERLOADED at once when the queue is full, or the shard of the slot has
   * too much of it; STORE_UNAVAILABLE at the deadline; before that, whatever the work throws
   */
  admit<T>(
    text: string,
    slot: number,
    work: (deadline: number) => Promise<T>,
    onFailed?: (error: unknown) => void
  ): Promise<T> {
    const { queueLengthMax, queueBytesMax, storeDeadlineMs } = this.#options
    const bytes = 2 * text.length + PENDING_BYTES
    // A message that is larger than the whole queue is taken alone, or it never would be.
    const isLarge = this.#length > 0 && this.#bytes + bytes > queueBytesMax
    if (this.#length >= queueLengthMax || isLarge) {
      return Promise.reject(
        new DialogsError(
          'OVERLOADED',
          'Too many messages are waiting for the store: try again in a second.'
        )
      )
    }
    const place = this.#lengths.take(slot, queueLengthMax - this.#length)
    if (place === undefined) return Promise.reject(shardOverloaded())
    const freeBytes = this.#length === 0 ? Infinity : queueBytesMax - this.#bytes
    const memory = this.#bytesShares.take(slot, freeBytes, bytes)
    if (memory === undefined) {
      this.#lengths.give(place)
      return Promise.reject(shardOverloaded())
    }
    this.#length++
    this.#bytes += bytes
    return new Promise((resolve, reject) => {
      const expire = (): void => {
        reject(
          new DialogsError(
            'STORE_UNAVAILABLE',
            `The store did not answer within ${storeDeadlineMs} ms: try again with the same Idempotency-Key.`
          )
        )
      }
      const taken = { deadline: performance.now() + storeDeadlineMs, expire }
      this.#taken.add(taken)
      this.#timer ??= setTimeout(this.#expire, storeDeadlineMs)
      const release = (): void => {
        this.#taken.delete(taken)
        this.#length--
        this.#bytes -= bytes
        this.#lengths.give(place)
        this.#bytesShares.give(memory, bytes)
      }
      work(taken.deadline).then(
        result => {
          release()
          resolve(result)
        },
        error => {
          release()
          onFailed?.(error)
          reject(error)
        }
      )
    })
  }

  readonly steps: Steps = {
    enter: slot => {
      // The message itself has its place in the queue by now.
      const share = this.#steps.take(slot, this.#options.queueLengthMax - this.#length + 1)
      if (share === undefined) throw shardOverloaded()
      return share
    },
    leave: share => {
      this.#steps.give(share)
    }
  }

  /**
   * Resolves when the work of everything accepted has ended, also of messages that were answered
   * before that, at their deadline. This polls, which is soon enough for a shutdown.
   */
  async settled(): Promise<void> {
    while (this.#length > 0) await sleep(SETTLED_POLL_MS)
  }

  // The timer is not cancelled when its message has been answered. When it fires, it is set for the
  // message that is the oldest by then.
  readonly #expire = (): void => {
    const now = performance.now()
    let left: number | undefined
    for (const taken of this.#taken) {
      left = taken.deadline - now
      if (left > 0) break
      this.#taken.delete(taken)
      taken.expire()
      left = undefined
    }
    this.#timer = left === undefined ? undefined : setTimeout(this.#expire, Math.ceil(left))
  }
}

const shardOverloaded = (): DialogsError =>
  new DialogsError(
    'OVERLOADED',
    'Too many messages are waiting for a part of the store: try again in a second.'
  )
