// All failures that a caller may meet: one class with a stable code, and one table from code to
// HTTP status. Callers branch on `code`, never on text. A bug in this service is a plain Error and
// ends as 500.

export const STATUS = {
  BAD_REQUEST: 400,
  INVALID_BODY: 400,
  INVALID_NAME: 400,
  INVALID_TEXT: 400,
  INVALID_QUERY: 400,
  INVALID_CURSOR: 400,
  INVALID_IDEMPOTENCY_KEY: 400,
  UNAUTHENTICATED: 401,
  TOKEN_EXPIRED: 401,
  FORBIDDEN: 403,
  SIGNALS_OFF: 403,
  NOT_FOUND: 404,
  MESSAGE_NOT_FOUND: 404,
  ROOM_NOT_FOUND: 404,
  NOT_A_MEMBER: 404,
  METHOD_NOT_ALLOWED: 405,
  REQUEST_TIMEOUT: 408,
  IDEMPOTENCY_CONFLICT: 409,
  NOT_A_MESSAGE: 409,
  TOO_MANY_ROOMS: 409,
  MESSAGE_DELETED: 410,
  ROOM_DELETED: 410,
  MESSAGE_EXPIRED: 410,
  MESSAGE_LOST: 410,
  PRECONDITION_FAILED: 412,
  BODY_TOO_LARGE: 413,
  URI_TOO_LONG: 414,
  UNSUPPORTED_MEDIA_TYPE: 415,
  RANGE_NOT_SATISFIABLE: 416,
  EXPECTATION_FAILED: 417,
  HOST_NOT_ALLOWED: 421,
  RATE_LIMITED: 429,
  TOO_MANY_REFUSALS: 429,
  HEADERS_TOO_LARGE: 431,
  INTERNAL: 500,
  // A 503 says what is in the way. The client may try again after Retry-After, with the same
  // Idempotency-Key.
  OVERLOADED: 503,
  STOPPING: 503,
  KEYS_UNAVAILABLE: 503,
  TOO_MANY_STREAMS: 503,
  STORE_UNAVAILABLE: 503,
  STORE_FULL: 503,
  STORE_READ_ONLY: 503,
  STORE_DENIED: 503,
  STORE_UNSUITABLE: 503,
  STORE_REFUSED: 503,
  STORE_LOST: 503,
  NOT_REPLICATED: 503
} as const

export type ErrorCode = keyof typeof STATUS

/**
 * The error class of this service. `statusCode` follows from `code`; `message` says what to change.
 */
export class DialogsError extends Error {
  readonly code: ErrorCode
  readonly statusCode: number

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'DialogsError'
    this.code = code
    this.statusCode = STATUS[code]
  }
}

/** A limit was reached. The answer says which, and when it is worth trying again. */
export class RateLimited extends DialogsError {
  /** How many the limit allows: writes, bytes, streams, signals or bad tokens. */
  readonly limit: number
  /** How many of them are left. */
  readonly remaining: number
  /** Until all of them are there again. */
  readonly resetS: number
  readonly retryAfterS: number

  constructor(
    code: 'RATE_LIMITED' | 'TOO_MANY_REFUSALS',
    message: string,
    {
      limit,
      remaining = 0,
      retryAfterS = 1,
      resetS = retryAfterS
    }: {
      readonly limit: number
      readonly remaining?: number
      readonly retryAfterS?: number
      readonly resetS?: number
    }
  ) {
    super(code, message)
    this.limit = limit
    this.remaining = remaining
    this.retryAfterS = retryAfterS
    this.resetS = resetS
  }
}

/**
 * Whether the same request may succeed later: the service or its store cannot do it now. Unexpected
 * errors count as temporary. An EventSource must never get such an error as a status, because it
 * would not come back (src/routes/open-stream.ts).
 */
export function isTemporary(error: unknown): boolean {
  // Fastify's own errors have a status and a code, too.
  const { statusCode = 500, code } = error as { readonly statusCode?: number; code?: string }
  // Another token is needed, not another time.
  if (code === 'TOO_MANY_REFUSALS') return false
  return statusCode >= 500 || statusCode === 408 || statusCode === 429
}

export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map(messageOf).join('; ')
  }
  return error instanceof Error ? error.message : String(error)
}
