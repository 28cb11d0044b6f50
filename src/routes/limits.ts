// Limits for one caller: writes and bytes per minute, and open streams. The caller is the user that
// the token names, or else the address. Each process counts for itself: behind a proxy that spreads
// requests over n processes, a caller can do up to n times as much. An operator's program (admin
// without a user) is not limited. Not @fastify/rate-limit: it counts requests in fixed windows, but
// neither bytes nor streams, and its hook waits for a promise in each POST.
import { type FastifyInstance, type FastifyRequest } from 'fastify'
import { isIPv6 } from 'node:net'
import { RateLimited } from '../errors.js'
import { ANYBODY, type Caller } from '../identity/caller.js'
import { TokenBuckets, type Taken } from './token-buckets.js'

export type LimitsOptions = {
  /** 0 turns a limit off. */
  readonly writesPerMinuteMax: number
  readonly writeBytesPerMinuteMax: number
  readonly streamsPerUserMax: number
  readonly streamsPerAddressMax: number
  /** What a body of undeclared length counts as, in bytes. */
  readonly bodyBytesMax: number
}

export class Limits {
  readonly #options: LimitsOptions
  readonly #writes: TokenBuckets
  readonly #bytes: TokenBuckets
  readonly #streams = new Map<string, number>()

  constructor(options: LimitsOptions) {
    this.#options = options
    this.#writes = new TokenBuckets(options.writesPerMinuteMax)
    this.#bytes = new TokenBuckets(options.writeBytesPerMinuteMax)
  }

  /** Counts the writes of routes added to the scope after this call. Call it after the guard. */
  count(scope: FastifyInstance): void {
    const { writesPerMinuteMax, writeBytesPerMinuteMax, bodyBytesMax } = this.#options
    if (writesPerMinuteMax + writeBytesPerMinuteMax === 0) return
    // With a callback, not async: it runs for every POST.
    scope.addHook('onRequest', (request, reply, done) => {
      if (request.method === 'GET' || request.method === 'HEAD' || isProgram(request.caller)) {
        done()
        return
      }
      const name = nameOf(request)
      const now = performance.now()
      if (writesPerMinuteMax > 0) {
        const taken = this.#writes.take(name, 1, now)
        if (taken.waitMs > 0) {
          done(tooMany(this.#writes, taken))
          return
        }
        reply.header('ratelimit-limit', writesPerMinuteMax)
        reply.header('ratelimit-remaining', Math.floor(taken.left))
        reply.header('ratelimit-reset', this.#writes.fullInS(taken.left))
      }
      if (writeBytesPerMinuteMax > 0) {
        const { headers } = request.raw
        const declared = headers['content-length']
        const bytes =
          headers['transfer-encoding'] === undefined ? Number(declared ?? 0) : bodyBytesMax
        const taken = this.#bytes.take(name, bytes, now)
        if (taken.waitMs > 0) {
          done(tooMany(this.#bytes, taken))
          return
        }
      }
      done()
    })
  }

  /**
   * Counts a stream until the returned function is called.
   * @throws RateLimited
   */
  enterStream(request: FastifyRequest): () => void {
    const { streamsPerUserMax, streamsPerAddressMax } = this.#options
    const { user } = request.caller
    if (isProgram(request.caller)) return () => undefined
    const names = [
      ...(streamsPerUserMax > 0 && user !== undefined
        ? [[`user ${user}`, streamsPerUserMax] as const]
        : []),
      ...(streamsPerAddressMax > 0
        ? [[`address ${networkOf(request.ip)}`, streamsPerAddressMax] as const]
        : [])
    ]
    for (const [name, max] of names) {
      if ((this.#streams.get(name) ?? 0) >= max) {
        throw new RateLimited(
          'RATE_LIMITED',
          `More than ${max} streams are open for this ${name.split(' ', 1)[0]}: close one.`,
          { limit: max }
        )
      }
    }
    for (const [name] of names) this.#streams.set(name, (this.#streams.get(name) ?? 0) + 1)
    return () => {
      for (const [name] of names) {
        const left = (this.#streams.get(name) ?? 0) - 1
        if (left > 0) this.#streams.set(name, left)
        else this.#streams.delete(name)
      }
    }
  }
}

const tooMany = (buckets: TokenBuckets, taken: Taken): RateLimited =>
  limitReached('RATE_LIMITED', 'This caller writes too much', buckets, taken)

/** The refusal of what a bucket did not have. */
export function limitReached(
  code: 'RATE_LIMITED' | 'TOO_MANY_REFUSALS',
  what: string,
  buckets: TokenBuckets,
  { left, waitMs }: Taken
): RateLimited {
  const retryAfterS = Math.max(1, Math.ceil(waitMs / 1000))
  return new RateLimited(code, `${what}: try again in ${retryAfterS} s.`, {
    limit: buckets.perMinute,
    remaining: Math.floor(left),
    retryAfterS,
    resetS: buckets.fullInS(left)
  })
}

const isProgram = (caller: Caller): boolean =>
  caller !== ANYBODY && caller.isAdmin && caller.user === undefined

/** Who counts as one client: a user, or without a token an address. */
export const nameOf = ({ caller, ip }: FastifyRequest): string =>
  caller.user === undefined ? `address ${networkOf(ip)}` : `user ${caller.user}`

/** The address; for IPv6 its first 64 bits, because one customer gets all addresses below them. */
export function networkOf(ip: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)?.[1]
  if (mapped !== undefined) return mapped
  if (!isIPv6(ip)) return ip
  const [head = '', tail] = ip.toLowerCase().split('%', 1)[0]?.split('::') ?? []
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length)
  return [...before, ...Array.from({ length: zeros }, () => '0'), ...after].slice(0, 4).join(':')
}
