// An answer of the service other than 2xx, as an error. `code` is stable and meant for programs,
// `message` says what to change and may be shown to people. The codes are in src/routes/README.md.

export class Refusal extends Error {
  readonly status: number
  /** For example `INVALID_NAME`; `NO_CODE` when a proxy answered instead of the service. */
  readonly code: string
  /** What the service asked for by Retry-After; 0 when it did not say. */
  readonly retryAfterMs: number

  constructor(status: number, code: string, message: string, retryAfterMs = 0) {
    super(message)
    this.name = 'Refusal'
    this.status = status
    this.code = code
    this.retryAfterMs = retryAfterMs
  }

  /** Whether the same request may be accepted later: the moment is at fault, not the request. */
  get isTemporary(): boolean {
    return this.status >= 500 || this.status === 429 || this.status === 408
  }
}

/** Whether nothing but another request can help. Errors of the network are never permanent. */
export const isPermanent = (error: unknown): boolean =>
  error instanceof Refusal && !error.isTemporary
