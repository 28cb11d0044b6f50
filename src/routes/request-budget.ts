// How many requests are in progress, and how many bytes their bodies have together. Invariant: what
// is added is counted until it is removed. Beyond either limit a request is refused; it counts as
// well, because it is answered, too.
import { type IncomingMessage } from 'node:http'

export type RequestBudgetOptions = {
  /** Requests in progress, not counting streams. */
  readonly requestsMax: number
  /** Bytes of their bodies, as declared. */
  readonly requestsBytesMax: number
  /** What a body of undeclared length counts as. */
  readonly bodyBytesMax: number
}

export class RequestBudget {
  readonly #options: RequestBudgetOptions
  #requests = 0
  #bytes = 0

  constructor(options: RequestBudgetOptions) {
    this.#options = options
  }

  /** Requests in progress. */
  get requests(): number {
    return this.#requests
  }

  /** @returns how many bytes the request counts as; `remove` takes them off again */
  add(request: IncomingMessage): number {
    const bytes = this.#bytesOf(request)
    this.#requests++
    this.#bytes += bytes
    return bytes
  }

  remove(bytes: number): void {
    this.#requests--
    this.#bytes -= bytes
  }

  /**
   * Whether the request that was added last is one too many.
   * @param bytes what it counts as. A body that is larger than the limit is taken when it is the
   * only one, or it never would be
   */
  isExceededBy(bytes: number): boolean {
    const { requestsMax, requestsBytesMax } = this.#options
    return this.#requests > requestsMax || (this.#bytes > requestsBytesMax && this.#bytes > bytes)
  }

  #bytesOf({ headers }: IncomingMessage): number {
    const { bodyBytesMax } = this.#options
    if (headers['transfer-encoding'] !== undefined) return bodyBytesMax
    const declared = headers['content-length']
    // A longer body is refused before it is read.
    return declared === undefined ? 0 : Math.min(Number(declared), bodyBytesMax)
  }
}
