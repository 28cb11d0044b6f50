// A room's history as async iterators over pages: forwards from a place, or backwards from one. A
// page is read when the one before it is used up, so nothing is read ahead of the caller. Temporary
// failures are retried, up to a limit.
import { type Entry, type MessagePage, messagePageOf } from './answers.js'
import { type Http, part } from './http.js'
import { backoffMs, pause } from './pause.js'
import { isPermanent, Refusal } from './refusal.js'

const PAGE_SIZE = 500
const ATTEMPTS_MAX = 8

export type PageQuery = {
  /** Only entries after this sequence or cursor. */
  readonly after?: string | number | undefined
  /** Only entries before this sequence or cursor. Without `after` and `before`: the newest. */
  readonly before?: string | number | undefined
  /** 1 to 1,000; default 500. A page may end earlier, but has an entry if there is any. */
  readonly limit?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** One page, ascending. Retries nothing. @throws Refusal, or what `fetch` throws */
export async function readPage(
  http: Http,
  room: string,
  { after, before, limit = PAGE_SIZE, signal }: PageQuery
): Promise<MessagePage> {
  const query = { after, before, limit }
  return messagePageOf(await http.request(`rooms/${part(room)}/messages`, { query, signal }))
}

/**
 * With `after`, the entries after it in ascending order, until the newest is reached. Otherwise the
 * entries before `before`, or all, in descending order.
 */
export async function* readHistory(
  http: Http,
  room: string,
  { after, before, limit, signal }: PageQuery
): AsyncGenerator<Entry, void> {
  if (after !== undefined) {
    yield* readForwards(http, room, { after, before, limit, signal })
    return
  }
  for (let edge = before; ;) {
    const { messages } = await withRetries(http, signal, () =>
      readPage(http, room, { before: edge, limit, signal })
    )
    yield* messages.toReversed()
    const first = messages[0]
    if (first === undefined || first.seq <= 1) return
    edge = first.seq
  }
}

async function* readForwards(
  http: Http,
  room: string,
  { after, before, limit, signal }: PageQuery
): AsyncGenerator<Entry, void> {
  for (let edge = after; ;) {
    const { head, messages } = await withRetries(http, signal, () =>
      readPage(http, room, { after: edge, before, limit, signal })
    )
    yield* messages
    const last = messages.at(-1)
    if (last === undefined || last.seq >= head) return
    edge = last.seq
  }
}

async function withRetries<T>(
  http: Http,
  signal: AbortSignal | undefined,
  attempt: () => Promise<T>
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt()
    } catch (error) {
      if (isPermanent(error) || signal?.aborted === true || failures === ATTEMPTS_MAX) throw error
      const msMin = error instanceof Refusal ? error.retryAfterMs : 0
      await pause(backoffMs(failures), { msMin, signal, network: http.network })
      signal?.throwIfAborted()
    }
  }
}
