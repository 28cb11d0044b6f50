// The one queue of messages that were taken and not settled yet, at whatever step they are.
// Invariant: bounded in number and in bytes, beyond which a message is refused at once; and every
// message that was taken is answered by its deadline, whatever hangs. Its place is held until its
// work has really ended: that is what costs memory.
import { DialogsError } from '../errors.js'

export type AdmissionOptions = {
  readonly queueLengthMax: number
  readonly queueBytesMax: number
  readonly storeDeadlineMs: number
}

/** What a message costs while it waits, beside its text: measured on the heap, rounded up. */
const PENDING_BYTES = 1024

type Taken = { readonly deadline: number; readonly expire: () => void }

export class Admission {
  readonly #options: AdmissionOptions
  #length = 0
  #bytes = 0
  /** Oldest first: all may take equally long, so that one timer is enough. */
  readonly #taken = new Set<Taken>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  get length(): number {
    return this.#length
  }

  /**
   * Takes a message and does its work, which gets the deadline on the clock of performance.now().
   * @throws DialogsError OVERLOADED at once when too much waits; STORE_UNAVAILABLE at the deadline;
   * or what the work throws before
   */
  admit<T>(text: string, work: (deadline: number) => Promise<T>): Promise<T> {
    const { queueLengthMax, queueBytesMax, storeDeadlineMs } = this.#options
    const bytes = 2 * text.length + PENDING_BYTES
    if (this.#length >= queueLengthMax || this.#bytes + bytes > queueBytesMax) {
      return Promise.reject(
        new DialogsError(
          'OVERLOADED',
          'Too many messages wait for the store: try again in a second.'
        )
      )
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
      }
      work(taken.deadline).then(
        result => {
          release()
          resolve(result)
        },
        error => {
          release()
          reject(error)
        }
      )
    })
  }

  // The timer runs on after what it was set for has been answered; when it fires it is set for the
  // oldest of those that wait then.
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
