// How many places of a limited number one shard may take. Everything that needs a silent shard
// keeps its place until its deadline. Without this, such work would soon have all places, and
// people whose shards are healthy would be refused. Invariant: a shard has at most SHARE times as
// many places as are free. So one silent shard gets four fifths of all, k of them get 4k / (4k + 1)
// together, and there is always something left for others. A shard's own number needs no setting.
// The idea is that of shared buffers in switches (Choudhury and Hahne, "Dynamic queue length
// thresholds for shared-memory packet switches", 1998).

const SHARE = 4

/** Names the shard that a slot belongs to; undefined while it has none. */
export type ShardOf = (slot: number) => string | undefined

/**
 * Whether a shard may take one more of a limited number of places. Leaves one place to others even
 * where there are few.
 * @param taken how many of them it has
 * @param free how many nobody has
 */
export const mayTake = (taken: number, free: number): boolean => taken <= SHARE * (free - 1)

/** The places that one shard has. */
export type Share = { readonly shard: string; taken: number }

export class Shares {
  readonly #shardOf: ShardOf
  readonly #shares = new Map<string, Share>()

  constructor(shardOf: ShardOf) {
    this.#shardOf = shardOf
  }

  /**
   * Takes places of the shard that a slot belongs to.
   * @param free how many places nobody has, before this
   * @returns undefined if the shard has too many already; otherwise give it back
   */
  take(slot: number, free: number, count = 1): Share | undefined {
    const shard = this.#shardOf(slot) ?? ''
    let share = this.#shares.get(shard)
    if (share === undefined) {
      share = { shard, taken: 0 }
      this.#shares.set(shard, share)
    }
    if (share.taken > SHARE * free) return undefined
    share.taken += count
    return share
  }

  give(share: Share, count = 1): void {
    share.taken -= count
    // A node that is gone is forgotten.
    if (share.taken === 0) this.#shares.delete(share.shard)
  }
}
