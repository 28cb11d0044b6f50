// Limits how often an address is told that its token is bad. Beyond that it gets 429 instead of
// 401, with Retry-After, so that a client in a loop slows down and a guess learns nothing.
// Invariant: a good token is always taken, so people who share an address (a proxy, an office) are
// not locked out by one of them. Requests without a token and expired tokens are not counted: every
// client meets them now and then, and needs the 401 to get a new token.
import { type FastifyRequest } from 'fastify'
import { DialogsError } from '../errors.js'
import { limitReached, networkOf } from './limits.js'
import { TokenBuckets } from './token-buckets.js'

/** A request without a token. It is not an attempt, so it is not counted. */
export class NoToken extends DialogsError {
  constructor() {
    super('UNAUTHENTICATED', 'There is no token: send Authorization: Bearer <token>.')
  }
}

export class Refusals {
  readonly #buckets: TokenBuckets | undefined

  /** @param perMinuteMax 0: any number */
  constructor(perMinuteMax: number) {
    this.#buckets = perMinuteMax === 0 ? undefined : new TokenBuckets(perMinuteMax)
  }

  /** What to answer to a request whose token was refused with this error. */
  answerTo({ ip }: Pick<FastifyRequest, 'ip'>, error: unknown): unknown {
    if (this.#buckets === undefined || error instanceof NoToken) return error
    if (!(error instanceof DialogsError) || error.code !== 'UNAUTHENTICATED') return error
    const taken = this.#buckets.take(networkOf(ip), 1, performance.now())
    if (taken.waitMs === 0) return error
    return limitReached(
      'TOO_MANY_REFUSALS',
      'Too many bad tokens have come from this address, where a good one is still taken',
      this.#buckets,
      taken
    )
  }
}
