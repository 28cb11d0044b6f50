// An answer of the service other than 2xx, as an error. `code` is stable and meant for programs,
// `message` says what to change and may be shown to people. The codes are in src/routes/README.md.

export class Refusal extends Error {
  readonly status: number
  /** For example `INVALID_NAME`; `NO_CODE` when a proxy answered instead of the service. */
  readonly code: string
  /** The wait that Retry-After asked for; 0 if there was none. */
  readonly retryAfterMs: number

  constructor(status: number, code: string, message: string, retryAfterMs = 0) {
    super(message)
    this.name = 'Refusal'
    this.status = status
    this.code = code
    this.retryAfterMs = retryAfterMs
  }

  /**
   * Whether the same request may be accepted later: the fault is with the moment, not the request.
   */
  get isTemporary(): boolean {
    return this.status >= 500 || this.status === 429 || this.status === 408
  }
}

/** Whether repeating the request is useless. Errors of the network are never permanent. */
export const isPermanent = (error: unknown): boolean =>
  error instanceof Refusal && !error.isTemporary
