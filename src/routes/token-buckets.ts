// Token buckets by name. A bucket begins full, and an empty one is full again after a minute.
// Invariant: in any minute a name takes at most twice what its bucket holds. The number of names is
// limited: beyond it, the name that came first is forgotten, and begins again with a full bucket.

const MINUTE_MS = 60_000

export type Taken = {
  /** What is left in the bucket. */
  readonly left: number
  /** The ms until there is enough; 0 if the amount was taken. */
  readonly waitMs: number
}

export class TokenBuckets {
  readonly perMinute: number
  readonly #namesMax: number
  readonly #buckets = new Map<string, { left: number; at: number }>()

  constructor(perMinute: number, namesMax = 100_000) {
    this.perMinute = perMinute
    this.#namesMax = namesMax
  }

  /** In how many seconds a bucket is full again that has so much left. */
  fullInS(left: number): number {
    return Math.ceil(((this.perMinute - left) / this.perMinute) * (MINUTE_MS / 1000))
  }

  /** Takes the amount if it is there. An amount larger than a bucket empties a full bucket. */
  take(name: string, amount: number, now: number): Taken {
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
