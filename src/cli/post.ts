// Posts, changes or deletes one message over one connection. An answer counts as an acknowledgement
// only if it is correct: its status, the same room, user and text, and a sequence. Throws nothing
// and repeats nothing.
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
  return await ask(
    client,
    {
      method: 'POST',
      path: `${basePath}/rooms/${encodeURIComponent(draft.room)}/messages`,
      headers: headersOf(key, token),
      body: JSON.stringify({ user: draft.user, text: draft.text })
    },
    (status, answer) =>
      status === 201 || (status === 200 && isRepeated)
        ? check(status, answer, draft)
        : wrong(status, `its status is ${status}, not 201`)
  )
}

/** Changes the text of a message, or deletes the message if `text` is undefined. */
export async function change(
  client: Client,
  { room, user, seq }: { readonly room: string; readonly user: string; readonly seq: number },
  text: string | undefined,
  { basePath, key, token }: Omit<Attempt, 'isRepeated'>
): Promise<Outcome> {
  const path = `${basePath}/rooms/${encodeURIComponent(room)}/messages/${seq}`
  const isDeletion = text === undefined
  return await ask(
    client,
    isDeletion
      ? {
          method: 'DELETE',
          path: `${path}?user=${encodeURIComponent(user)}`,
          headers: rightsOf(key, token)
        }
      : {
          method: 'PATCH',
          path,
          headers: headersOf(key, token),
          body: JSON.stringify({ user, text })
        },
    (status, answer) => {
      if (status !== 200) return wrong(status, `its status is ${status}, not 200`)
      const expected = { room, changes: seq, ...(isDeletion ? { deleted: true } : { text }) }
      return checkFields(status, answer, expected)
    }
  )
}

async function ask(
  client: Client,
  request: Parameters<Client['request']>[0],
  check: (status: number, answer: Readonly<Record<string, unknown>>) => Outcome
): Promise<Outcome> {
  try {
    const { statusCode, headers, body } = await client.request(request)
    const answer = fieldsOf(await body.text())
    if (statusCode < 400) return check(statusCode, answer)
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
  ...rightsOf(key, token)
})

const rightsOf = (key: string | undefined, token: string | undefined): Record<string, string> => ({
  ...(key === undefined ? {} : { 'idempotency-key': key }),
  ...(token === undefined ? {} : { authorization: `Bearer ${token}` })
})

const check = (
  status: number,
  answer: Readonly<Record<string, unknown>>,
  { room, user, text }: Draft
): Outcome => checkFields(status, answer, { room, user, text })

function checkFields(
  status: number,
  answer: Readonly<Record<string, unknown>>,
  expected: Readonly<Record<string, unknown>>
): Outcome {
  const { seq, at } = answer
  for (const [field, value] of Object.entries(expected)) {
    if (answer[field] !== value) {
      return wrong(
        status,
        `its ${field} is ${JSON.stringify(answer[field])}, not ${JSON.stringify(value)}`
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
