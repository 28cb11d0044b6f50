// Posting with retries. Invariant: a message is stored at most once, because every attempt carries
// the same Idempotency-Key. Messages of one room keep their order, because the next one is sent
// only when the one before was answered or given up. Rooms do not wait for each other.
import { type Message, messageOf } from './answers.js'
import { type Http, part } from './http.js'
import { backoffMs, pause } from './pause.js'
import { isPermanent, Refusal } from './refusal.js'

/** Messages of one room that may wait or be on their way; more are refused at once. */
const WAITING_MAX = 1000
/** Longer than a failover takes. The service remembers a key for a day. */
const RETRY_MS_MAX = 120_000

export type Draft = {
  /** May be left out if the token names the user. */
  readonly user?: string | undefined
  readonly text: string
}

export type PostOptions = {
  /**
   * Posts with the same key are stored once, even if the program restarts. Default: a random key.
   */
  readonly key?: string | undefined
  /** How long to retry; default 2 minutes. Keep it below a day. */
  readonly retryMsMax?: number | undefined
  /** Called for each failure that is followed by another attempt. */
  readonly onRetry?: ((error: unknown, pauseMs: number) => void) | undefined
  /** Stops waiting and retrying. The message may be stored nevertheless. */
  readonly signal?: AbortSignal | undefined
}

type Lane = { last: Promise<unknown>; waiting: number }

export class PostQueue {
  readonly #http: Http
  readonly #lanes = new Map<string, Lane>()

  constructor(http: Http) {
    this.#http = http
  }

  /**
   * Resolves with the stored message. @throws Refusal for good, or the last failure when the time
   * for retries is over: then nobody knows whether the message is stored, and the same key may be
   * posted again
   */
  async post(room: string, draft: Draft, options: PostOptions = {}): Promise<Message> {
    const lane = this.#lanes.get(room) ?? { last: Promise.resolve(), waiting: 0 }
    if (lane.waiting >= WAITING_MAX) {
      throw new Error(`${WAITING_MAX} messages for the room ${room} are waiting already.`)
    }
    lane.waiting++
    this.#lanes.set(room, lane)
    const turn = lane.last.then(() => this.#attempt(room, draft, options))
    lane.last = turn.catch(() => undefined)
    try {
      return await orAborted(turn, options.signal)
    } finally {
      if (--lane.waiting === 0) this.#lanes.delete(room)
    }
  }

  async #attempt(room: string, draft: Draft, options: PostOptions): Promise<Message> {
    const { key = randomKey(), retryMsMax = RETRY_MS_MAX, onRetry, signal } = options
    const startedAt = performance.now()
    for (let failures = 1; ; failures++) {
      signal?.throwIfAborted()
      try {
        return messageOf(
          await this.#http.request(`rooms/${part(room)}/messages`, {
            method: 'POST',
            headers: { 'idempotency-key': key },
            body: draft,
            signal
          })
        )
      } catch (error) {
        const msMin = error instanceof Refusal ? error.retryAfterMs : 0
        const pauseMs = Math.max(msMin, backoffMs(failures))
        const isOver = performance.now() - startedAt + pauseMs > retryMsMax
        if (isPermanent(error) || isOver || signal?.aborted === true) throw error
        onRetry?.(error, pauseMs)
        await pause(pauseMs, { msMin, signal, network: this.#http.network })
      }
    }
  }
}

/** A message that waits behind others need not wait for its turn to be given up. */
async function orAborted<T>(turn: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return turn
  signal.throwIfAborted()
  let stop = (): void => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(signal.reason)
    signal.addEventListener('abort', stop)
  })
  try {
    return await Promise.race([turn, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/**
 * crypto.randomUUID is missing on plain http origins other than localhost; getRandomValues is
 * available everywhere.
 */
export function randomKey(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID()
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), byte =>
    byte.toString(16).padStart(2, '0')
  ).join('')
}
