// Requests whose bodies have not arrived yet. As many may wait as may be in progress. Beyond that,
// a body that is late gives its place to a new one. Without this, clients that send all but the end
// of their bodies would take all places for as long as a request may take to arrive.
import { type IncomingMessage } from 'node:http'
import { DialogsError } from '../errors.js'

/** A body that is not complete after this time is late. */
const LATE_MS = 1000

type Awaited = {
  /** On the clock of performance.now(). */
  readonly sinceMs: number
  /** Its place was given away. */
  isRefused: boolean
}

export class AwaitedBodies {
  readonly #max: number
  /** The oldest first. */
  readonly #awaited = new Map<IncomingMessage, Awaited>()

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#awaited.size
  }

  has(request: IncomingMessage): boolean {
    return this.#awaited.has(request)
  }

  /**
   * Counts a request until it is removed, even if it has no place.
   * @returns whether it has none, because too many wait already and none of them is late
   */
  add(request: IncomingMessage): boolean {
    const now = performance.now()
    const isTooMany = this.#awaited.size >= this.#max && !this.#refuseLate(now)
    this.#awaited.set(request, { sinceMs: now, isRefused: false })
    return isTooMany
  }

  /** @returns whether it was there */
  remove(request: IncomingMessage): boolean {
    return this.#awaited.delete(request)
  }

  #refuseLate(now: number): boolean {
    for (const [request, awaited] of this.#awaited) {
      if (awaited.isRefused || request.complete || request.listenerCount('error') === 0) continue
      if (now - awaited.sinceMs < LATE_MS) return false
      awaited.isRefused = true
      // Whoever reads the body drops what it has, and answers.
      request.emit('error', late())
      return true
    }
    return false
  }
}

/** Whether a body has to arrive before the request can be answered. */
export const hasBody = ({ method, headers }: IncomingMessage): boolean =>
  (headers['content-length'] ?? '0') !== '0' || headers['transfer-encoding'] !== undefined
    ? method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS'
    : false

const late = (): DialogsError =>
  new DialogsError(
    'OVERLOADED',
    'The rest of the body did not come, and other requests needed the place: try again in a second.'
  )
