// The keys behind AUTH_JWKS_URL. They are fetched at the start, then every few minutes, and when a
// token names an unknown key (a rotation), but not more often than once a second, nor more than ten
// times a minute on average: whoever forges tokens must not load the issuer. Invariant: a token is
// refused for its key only after a fetch that began when the token was there, because a 401 ends an
// EventSource for good. A token that comes shortly before the next fetch waits for it. One that
// would wait longer gets 503, and the next fetch comes nevertheless, so forged tokens delay a
// rotation by some seconds at most. While the URL does not answer, the last keys stay in use for a
// limited time. After that, before the first answer, and for an unknown key, requests get 503 and
// not 401: their tokens may be good. A key that is missing from the latest answer is not used, and
// the rights of what it signed end.
import { createHash } from 'node:crypto'
import {
  createLocalJWKSet,
  errors,
  type JSONWebKeySet,
  type JWK,
  type JWTHeaderParameters
} from 'jose'
import { setTimeout as sleep } from 'node:timers/promises'
import { DialogsError } from '../errors.js'
import { type Candidate, type Keys } from './keys.js'

/** Asymmetric only: anybody may read the set, so a key in it cannot be a secret. */
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
const BYTES_MAX = 256 * 1024
/**
 * How many keys are tried for one token. A token that names its key has one, or a few if the issuer
 * gives several keys the same name. Each try costs a verification, also for a forged token.
 */
const CANDIDATES_MAX = 8
/** For so long, a token may wait for the next fetch to begin. */
const WAIT_MS_MAX = 1000
/** Tokens that may wait for the next fetch; others get 503. Whoever forges them fills no memory. */
export const WAITING_MAX = 1000

export type JwksOptions = {
  readonly url: string
  /** How often the keys are fetched. */
  readonly refreshMs: number
  /** The same after a failure; a little longer, by chance. */
  readonly retryMs: number
  /** The least time between two fetches for tokens with unknown keys. */
  readonly cooldownMs: number
  /** How many such fetches there may be at that pace after a quiet time. */
  readonly burst: number
  /** The time after which there may be one more. */
  readonly eachMs: number
  /** How long keys stay in use while the URL does not answer. */
  readonly staleMs: number
  readonly timeoutMs: number
  readonly onFault: (error: unknown) => void
  /** The set of keys has changed. */
  readonly onChange: () => void
}

type JwksKey = {
  readonly kid: string | undefined
  /** A set of this key alone, which says whether the key fits a header. */
  readonly keyFor: ReturnType<typeof createLocalJWKSet>
}

export const JWKS_TIMES = {
  refreshMs: 300_000,
  retryMs: 10_000,
  cooldownMs: 1000,
  burst: 10,
  eachMs: 6000,
  staleMs: 3_600_000,
  timeoutMs: 5000
} as const

export class Jwks implements Keys {
  readonly algorithms = ALGORITHMS
  readonly #options: JwksOptions
  readonly #abort = new AbortController()
  /** By the hash of each key. A key that stays in the set keeps its entry. */
  #keys: ReadonlyMap<string, JwksKey> | undefined
  /** When the last fetch that succeeded began. */
  #fetchedAt = -Infinity
  /** When the last fetch began. */
  #triedAt = -Infinity
  #loading: Promise<void> | undefined
  /** The fetch that tokens with unknown keys wait for; it has not begun, and will at `atMs`. */
  #next: { readonly done: Promise<void>; readonly atMs: number } | undefined
  #waiting = 0
  /** Fetches for unknown keys that may begin, at `#countedAt`. */
  #allowance: number
  #countedAt = performance.now()

  constructor(options: JwksOptions) {
    this.#options = options
    this.#allowance = options.burst
  }

  /** Fetches the keys regularly until `close`. Resolves after the first attempt. */
  async start(): Promise<void> {
    await this.#load()
    void this.#refresh()
  }

  close(): void {
    this.#abort.abort()
  }

  readonly candidatesFor = async (
    header: Partial<JWTHeaderParameters>
  ): Promise<readonly Candidate[]> => {
    if (this.#isOutOfDate()) await this.#loadUnlessJustTried()
    if (this.#keys === undefined || this.#isOutOfDate()) throw unavailable()
    const found = await candidatesIn(this.#keys, header)
    if (found.length === 0) found.push(...(await candidatesIn(await this.#nextKeys(), header)))
    if (found.length === 0) throw new errors.JWKSNoMatchingKey()
    if (found.length > CANDIDATES_MAX) throw new errors.JWKSMultipleMatchingKeys()
    return found
  }

  readonly isCurrent = (signer: string | undefined): boolean =>
    signer !== undefined && this.#keys?.has(signer) === true

  #isOutOfDate(): boolean {
    return performance.now() - this.#fetchedAt > this.#options.staleMs
  }

  /**
   * The keys by a fetch that begins after this call. Calls during the pause share one.
   * @throws DialogsError KEYS_UNAVAILABLE if that fetch comes too late or fails
   */
  async #nextKeys(): Promise<ReadonlyMap<string, JwksKey>> {
    if (this.#waiting >= WAITING_MAX) throw unavailable()
    const calledAt = performance.now()
    this.#waiting++
    try {
      const next = (this.#next ??= this.#planNext())
      if (next.atMs - calledAt > WAIT_MS_MAX) throw unavailable()
      await next.done
    } finally {
      this.#waiting--
    }
    if (this.#keys === undefined || this.#fetchedAt < calledAt) throw unavailable()
    return this.#keys
  }

  #planNext(): { readonly done: Promise<void>; readonly atMs: number } {
    const { burst, cooldownMs, eachMs } = this.#options
    const now = performance.now()
    this.#allowance = Math.min(burst, this.#allowance + (now - this.#countedAt) / eachMs)
    this.#countedAt = now
    const atMs = Math.max(this.#triedAt + cooldownMs, now + (1 - this.#allowance) * eachMs)
    this.#allowance--
    return { done: this.#loadAt(atMs), atMs }
  }

  async #loadAt(atMs: number): Promise<void> {
    // A fetch in progress may have been answered before the key was published.
    await this.#loading
    const pauseMs = Math.max(atMs, this.#triedAt + this.#options.cooldownMs) - performance.now()
    if (pauseMs > 0) await sleep(pauseMs, undefined, { ref: false })
    await this.#loading
    this.#next = undefined
    await this.#load()
  }

  async #loadUnlessJustTried(): Promise<void> {
    const isRecent = performance.now() - this.#triedAt < this.#options.cooldownMs
    if (!isRecent || this.#loading !== undefined) await this.#load()
  }

  // Calls made during a fetch share it.
  #load(): Promise<void> {
    this.#loading ??= this.#fetch()
      .catch((error: unknown) => {
        if (!this.#abort.signal.aborted) this.#options.onFault(error)
      })
      .finally(() => {
        this.#loading = undefined
      })
    return this.#loading
  }

  async #refresh(): Promise<void> {
    const { refreshMs, retryMs } = this.#options
    for (;;) {
      // Sooner after a failure than after a success.
      const isFresh = performance.now() - this.#fetchedAt < refreshMs
      await sleep(
        isFresh ? refreshMs : Math.min(refreshMs, retryMs * (1 + Math.random())),
        undefined,
        {
          ref: false,
          signal: this.#abort.signal
        }
      ).catch(() => undefined)
      if (this.#abort.signal.aborted) return
      await this.#load()
    }
  }

  async #fetch(): Promise<void> {
    const { url, timeoutMs, onChange } = this.#options
    const begunAt = performance.now()
    this.#triedAt = begunAt
    const response = await fetch(url, {
      headers: { accept: 'application/jwk-set+json, application/json' },
      // A redirection could lead to somebody else's keys.
      redirect: 'error',
      signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), this.#abort.signal])
    })
    if (!response.ok) {
      await response.body?.cancel()
      throw new Error(`AUTH_JWKS_URL was answered ${response.status}`)
    }
    const set = parseSet(await boundedText(response))
    this.#fetchedAt = begunAt
    const known = this.#keys
    const keys = new Map(
      set.keys.map(key => {
        const hash = hashOf(key)
        return [
          hash,
          known?.get(hash) ?? { kid: key.kid, keyFor: createLocalJWKSet({ keys: [key] }) }
        ]
      })
    )
    this.#keys = keys
    const isSame = known?.size === keys.size && [...keys.keys()].every(hash => known.has(hash))
    if (!isSame) onChange()
  }
}

const unavailable = (): DialogsError =>
  new DialogsError(
    'KEYS_UNAVAILABLE',
    'The keys that tokens are checked with cannot be fetched: try again later.'
  )

/** The keys that a token's header fits: by `kid` if it has one, and by the algorithm. */
async function candidatesIn(
  keys: ReadonlyMap<string, JwksKey>,
  { alg, ...header }: Partial<JWTHeaderParameters>
): Promise<Candidate[]> {
  if (alg === undefined) return []
  const candidates = await Promise.all(
    Array.from(keys, async ([signer, { kid, keyFor }]): Promise<Candidate | undefined> => {
      if (header.kid !== undefined && header.kid !== kid) return undefined
      try {
        return { key: await keyFor({ ...header, alg }), signer }
      } catch {
        // It does not fit, or it is no public key that can be used.
        return undefined
      }
    })
  )
  return candidates.filter(candidate => candidate !== undefined)
}

/** The same for the same fields in another order. */
const hashOf = (key: JWK): string =>
  createHash('sha256')
    .update(JSON.stringify(Object.entries(key).sort()))
    .digest('base64url')

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  // Every answer of fetch has a body, or an empty one; its type does not say what it yields.
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > BYTES_MAX) throw new Error(`AUTH_JWKS_URL answers more than ${BYTES_MAX} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function parseSet(text: string): JSONWebKeySet {
  let set: unknown
  try {
    set = JSON.parse(text)
  } catch {
    // The parser's own error would quote the answer.
    throw new Error('AUTH_JWKS_URL does not answer JSON')
  }
  const { keys } = (set ?? {}) as { readonly keys?: unknown }
  if (!Array.isArray(keys) || keys.some(key => typeof key !== 'object' || key === null)) {
    throw new Error('AUTH_JWKS_URL does not answer a set of keys ({"keys": [...]})')
  }
  return { keys: keys as JSONWebKeySet['keys'] }
}
