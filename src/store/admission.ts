// The one queue of messages that were taken and not settled yet, at whatever step they are.
// Invariant: bounded in number and in bytes, beyond which a message is refused at once; and every message that was taken is answered by its
// deadline, whatever hangs. Its place is held until its work has really ended: that is what costs memory.
import { DialogsError } from '../errors.js'

export type AdmissionOptions = {
  readonly queueLengthMax: number
  readonly queueBytesMax: number
  readonly deadlineMs: number
}

/** What a message costs while it waits, beside its text: measured on the heap, rounded up. */
const PENDING_BYTES = 1024

export class Admission {
  readonly #options: AdmissionOptions
  #length = 0
  #bytes = 0

  constructor (options: AdmissionOptions) {
    this.#options = options
  }

  get length (): number {
    return this.#length
  }

  /**
   * Takes a message and does its work, which gets the deadline on the clock of performance.now().
   * @throws DialogsError OVERLOADED at once when too much waits; STORE_UNAVAILABLE at the deadline; or what the work throws before
   */
  async admit<T> (text: string, work: (deadline: number) => Promise<T>): Promise<T> {
    const { queueLengthMax, queueBytesMax, deadlineMs } = this.#options
    const bytes = 2 * text.length + PENDING_BYTES
    if (this.#length >= queueLengthMax || this.#bytes + bytes > queueBytesMax) {
      throw new DialogsError('OVERLOADED', 'Too many messages wait for the store: try again in a second.')
    }
    this.#length++
    this.#bytes += bytes
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new DialogsError('STORE_UNAVAILABLE', `The store did not answer within ${deadlineMs} ms: try again with the same Idempotency-Key.`))
      }, deadlineMs)
      void work(performance.now() + deadlineMs).then(resolve, reject).finally(() => {
        clearTimeout(timer)
        this.#length--
        this.#bytes -= bytes
      })
    })
  }
}
