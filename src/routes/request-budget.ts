// How many requests are in progress, and how many bytes of their bodies have arrived. Invariant:
// what is added is counted until it is removed. Beyond either limit a request is refused; it counts
// as well, because it is answered, too. The declared length of a body does not count: a client that
// declares much and sends nothing takes no memory, and would take the place of others.
export type RequestBudgetOptions = {
  /** Requests in progress whose bodies have arrived, not counting streams. */
  readonly requestsMax: number
  /** Bytes of their bodies that have arrived, and what it takes to keep them in pieces. */
  readonly requestsBytesMax: number
}

/**
 * What each piece of a body but the first takes besides its bytes, and a client decides how small
 * the pieces are. 100,000 pieces of one byte took 77 MB (Node 20).
 */
export const PIECE_BYTES = 800

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

  /** @returns whether the request is one too many; it counts all the same */
  add(): boolean {
    this.#requests++
    return this.#requests > this.#options.requestsMax
  }

  /**
   * A part of a body has arrived.
   * @param ofRequest what has arrived of the same request before. A body that is larger than the
   * limit is taken while it is the only one, or it never would be
   * @returns whether it is too much; it counts all the same
   */
  addBytes(bytes: number, ofRequest: number): boolean {
    const isAlone = this.#bytes === ofRequest
    this.#bytes += bytes
    return this.#bytes > this.#options.requestsBytesMax && !isAlone
  }

  /**
   * @param bytes what was added for the request
   * @param isCounted whether the request itself was added, too
   */
  remove(bytes: number, isCounted = true): void {
    if (isCounted) this.#requests--
    this.#bytes -= bytes
  }
}
