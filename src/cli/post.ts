// Posts one message over one connection. An answer counts as an acknowledgement only if it is
// correct: 201, the same room, user and text, and a sequence. Throws nothing and repeats nothing.
import { type Client } from 'undici'
import { messageOf } from '../errors.js'

export type Draft = { readonly room: string; readonly user: string; readonly text: string }

export type Outcome =
  | { readonly isAcknowledged: true; readonly seq: number; readonly at: string }
  | {
      readonly isAcknowledged: false
      /** Undefined if there was no answer. */
      readonly status: number | undefined
      /**
       * The service's code, the system's (`ECONNREFUSED`, `UND_ERR_HEADERS_TIMEOUT` …), or
       * `WRONG_ANSWER`.
       */
      readonly code: string
      readonly reason: string
      /**
       * The message may be stored, or the service has a problem: repeating it with the same key may
       * succeed.
       */
      readonly isWorthRetrying: boolean
      readonly retryAfterMs: number
    }

export type Attempt = {
  /** The service's base path, without a slash at the end. */
  readonly basePath: string
  readonly key: string | undefined
  /** For a service that requires one. */
  readonly token?: string | undefined
  /** The key was sent before, so a 200 with the stored message is right as well. */
  readonly isRepeated: boolean
}

/** Posts a message. `client` is one connection (undici), with its time limits set. */
export async function post(
  client: Client,
  draft: Draft,
  { basePath, key, token, isRepeated }: Attempt
): Promise<Outcome> {
  try {
    const { statusCode, headers, body } = await client.request({
      method: 'POST',
      path: `${basePath}/rooms/${encodeURIComponent(draft.room)}/messages`,
      headers: headersOf(key, token),
      body: JSON.stringify({ user: draft.user, text: draft.text })
    })
    const answer = fieldsOf(await body.text())
    if (statusCode === 201 || (statusCode === 200 && isRepeated)) {
      return check(statusCode, answer, draft)
    }
    if (statusCode < 400) return wrong(statusCode, `its status is ${statusCode}, not 201`)
    return {
      isAcknowledged: false,
      status: statusCode,
      code: typeof answer['code'] === 'string' ? answer['code'] : 'NO_CODE',
      reason:
        typeof answer['message'] === 'string' ? answer['message'] : 'The answer gives no reason.',
      isWorthRetrying: statusCode >= 500,
      retryAfterMs: 1000 * (Number(headers['retry-after']) || 0)
    }
  } catch (error) {
    return {
      isAcknowledged: false,
      status: undefined,
      code: codeOf(error),
      reason: messageOf(error),
      isWorthRetrying: true,
      retryAfterMs: 0
    }
  }
}

const headersOf = (key: string | undefined, token: string | undefined): Record<string, string> => ({
  'content-type': 'application/json',
  ...(key === undefined ? {} : { 'idempotency-key': key }),
  ...(token === undefined ? {} : { authorization: `Bearer ${token}` })
})

function check(status: number, answer: Readonly<Record<string, unknown>>, draft: Draft): Outcome {
  const { seq, at } = answer
  for (const field of ['room', 'user', 'text'] as const) {
    if (answer[field] !== draft[field]) {
      return wrong(
        status,
        `its ${field} is ${JSON.stringify(answer[field])}, not ${JSON.stringify(draft[field])}`
      )
    }
  }
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 1) {
    return wrong(status, `its seq is ${JSON.stringify(seq)}, not a positive integer`)
  }
  if (typeof at !== 'string') return wrong(status, `its at is ${JSON.stringify(at)}, not a time`)
  return { isAcknowledged: true, seq, at }
}

const wrong = (status: number, what: string): Outcome => ({
  isAcknowledged: false,
  status,
  code: 'WRONG_ANSWER',
  reason: `The answer is wrong: ${what}.`,
  isWorthRetrying: false,
  retryAfterMs: 0
})

// A proxy's HTML page counts as an answer without fields.
function fieldsOf(json: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(json)
    // Any object may be indexed by name; a missing field is undefined.
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'UNKNOWN'
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}
