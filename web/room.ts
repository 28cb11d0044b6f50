// One room's HTTP interface as the page uses it: addresses, requests, and what a refusal says.
// Retries nothing: the outbox and the stream do that, each in its own way. Addresses are relative
// to the page, so that a proxy may put the whole service below a path.
import { type Entry, type Message, parseEntry, parseMessage, parseObject } from './message.js'

/** The newest messages, which the page begins with: more than a screen, and quickly there. */
export const FIRST_PAGE_SIZE = 100
/** A further page of history. */
export const PAGE_SIZE = 500

// A POST waits for a replica, and for the time of a failover; the service itself gives up before
// this.
const REQUEST_MS_MAX = 20_000

/** An answer other than 2xx. `message` is the service's own, which says what to change. */
export class Refusal extends Error {
  readonly status: number
  readonly retryAfterMs: number

  constructor(status: number, message: string, retryAfterMs = 0) {
    super(message)
    this.name = 'Refusal'
    this.status = status
    this.retryAfterMs = retryAfterMs
  }

  /**
   * Whether the same request may be accepted later: not the request is at fault, but the moment.
   */
  get isTemporary(): boolean {
    return this.status >= 500 || this.status === 429 || this.status === 408
  }
}

/** What can be told to a user of anything that a request may end with. */
export function reasonOf(error: unknown): string {
  if (error instanceof Refusal) return error.message
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return 'The service did not answer in time.'
  }
  return 'The service cannot be reached.'
}

export class Room {
  readonly name: string
  readonly base: string
  readonly #url: URL

  /** @param base the address that `rooms/…` is relative to */
  constructor(name: string, base: string) {
    this.name = name
    this.base = base
    this.#url = new URL(`rooms/${encodeURIComponent(name)}/`, base)
  }

  /**
   * The messages that follow `after`, or those that lead up to `before`, or the newest, in
   * ascending order.
   */
  async readPage(
    edge: { before: number } | { after: number } | { limit: number },
    signal: AbortSignal
  ): Promise<Entry[]> {
    const query = Object.entries({ limit: PAGE_SIZE, ...edge }).map(([name, value]) => [
      name,
      String(value)
    ])
    const { messages } = parseObject(
      await this.#request(this.#address('messages', Object.fromEntries(query)), { signal })
    )
    if (!Array.isArray(messages)) throw new TypeError('The service sent a page without messages')
    return messages.map(parseEntry)
  }

  /** Who has written here, and how much. */
  async readUsers(): Promise<Map<string, number>> {
    const { users } = parseObject(await this.#request(this.#address('users')))
    if (!Array.isArray(users)) throw new TypeError('The service sent no users')
    return new Map(
      users.map(each => {
        const { user, messages } = parseObject(each)
        return [String(user), Number(messages)]
      })
    )
  }

  /** @param key makes repeats of this POST one message */
  async post(draft: { user: string; text: string }, key: string): Promise<Message> {
    const body = JSON.stringify(draft)
    return parseMessage(
      await this.#request(this.#address('messages'), {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': key },
        body,
        // So it goes out even if the page is closed right after Enter. Browsers refuse it for more
        // than 64 KiB of UTF-8.
        keepalive: body.length < 16_000
      })
    )
  }

  #address(path: string, query: { [name: string]: string } = {}): string {
    const url = new URL(path, this.#url)
    url.search = new URLSearchParams(query).toString()
    return url.href
  }

  async #request(address: string, { signal, ...init }: RequestInit = {}): Promise<unknown> {
    const timeout = AbortSignal.timeout(REQUEST_MS_MAX)
    const response = await fetch(address, {
      ...init,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout
    })
    if (!response.ok) throw await refusalOf(response)
    return response.json()
  }
}

async function refusalOf(response: Response): Promise<Refusal> {
  // A proxy's error page is no JSON.
  const body: unknown = await response.json().catch(() => undefined)
  const message =
    typeof body === 'object' && body !== null && 'message' in body
      ? String(body.message)
      : `The service answered ${response.status}.`
  const seconds = Number(response.headers.get('retry-after') ?? 0)
  return new Refusal(response.status, message, Number.isFinite(seconds) ? seconds * 1000 : 0)
}
