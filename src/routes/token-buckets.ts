// Token buckets by name: each holds so many, and is filled again over a minute. Invariant: in any
// minute a name takes at most twice what its bucket holds. Only so many names are kept; beyond that
// the one that came first is forgotten, and begins again with a full bucket.

const MINUTE_MS = 60_000

export class TokenBuckets {
  readonly perMinute: number
  readonly #namesMax: number
  readonly #buckets = new Map<string, { left: number; at: number }>()

  constructor(perMinute: number, namesMax = 100_000) {
    this.perMinute = perMinute
    this.#namesMax = namesMax
  }

  /**
   * Takes so much, if it is there. More than a bucket holds is taken from a full one.
   * @returns what is left, and the ms until it would be enough: 0 when it was taken
   */
  take(
    name: string,
    amount: number,
    now: number
  ): { readonly left: number; readonly waitMs: number } {
    const bucket = this.#bucket(name, now)
    bucket.left = Math.min(
      this.perMinute,
      bucket.left + ((now - bucket.at) / MINUTE_MS) * this.perMinute
    )
    bucket.at = now
    const needed = Math.min(amount, this.perMinute)
    if (bucket.left >= needed) {
      bucket.left -= needed
      return { left: bucket.left, waitMs: 0 }
    }
    return { left: bucket.left, waitMs: ((needed - bucket.left) / this.perMinute) * MINUTE_MS }
  }

  #bucket(name: string, now: number): { left: number; at: number } {
    const known = this.#buckets.get(name)
    if (known !== undefined) return known
    if (this.#buckets.size >= this.#namesMax) {
      const [oldest] = this.#buckets.keys()
      if (oldest !== undefined) this.#buckets.delete(oldest)
    }
    const bucket = { left: this.perMinute, at: now }
    this.#buckets.set(name, bucket)
    return bucket
  }
}
