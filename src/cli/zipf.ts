// Who of many is next, when few do most: ranks by Zipf's law, and the repeatable random numbers
// that they are drawn with. The same seed gives the same ranks on every machine. It knows nothing
// of users or messages.

/**
 * Ranks 0 … size - 1, where rank k comes with a probability proportional to 1 / (k + 1)^exponent.
 * Exponent 0 is everyone alike, 1 is Zipf's law (the first of a thousand gets 13 %), 2 leaves the
 * first 60 %. Costs 8 bytes a rank, and a draw takes log2(size) steps.
 */
export class Zipf {
  // shares[k] is how likely a rank up to k is.
  readonly #shares: Float64Array

  constructor(size: number, exponent: number) {
    this.#shares = new Float64Array(size)
    let sum = 0
    for (let rank = 0; rank < size; rank++) this.#shares[rank] = sum += (rank + 1) ** -exponent
    for (let rank = 0; rank < size; rank++) this.#shares[rank]! /= sum
  }

  /** The rank that a number of [0, 1) stands for: small numbers are low ranks. */
  rank(uniform: number): number {
    let low = 0
    let high = this.#shares.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#shares[middle]! > uniform) high = middle
      else low = middle + 1
    }
    return low
  }
}

/**
 * Repeatable numbers of [0, 1) from a 32-bit seed: mulberry32 by Tommy Ettinger (public domain,
 * https://gist.github.com/tommyettinger/46a874533244883189143505d203312c). Not for secrets.
 */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
