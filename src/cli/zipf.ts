// Selects one of many when a few do most: ranks by Zipf's law, and the repeatable random numbers
// that draw them. The same seed gives the same ranks on every machine. Knows nothing of users or
// messages.

/**
 * Ranks 0 … size - 1; rank k has a probability proportional to 1 / (k + 1)^exponent. With exponent
 * 0 all are alike, 1 is Zipf's law (the first of a thousand gets 13 %), and with 2 the first gets
 * 60 %. Costs 8 bytes per rank; a draw takes log2(size) steps.
 */
export class Zipf {
  // shares[k] is the probability of a rank up to k.
  readonly #shares: Float64Array

  constructor(size: number, exponent: number) {
    this.#shares = new Float64Array(size)
    let sum = 0
    for (let rank = 0; rank < size; rank++) this.#shares[rank] = sum += (rank + 1) ** -exponent
    for (let rank = 0; rank < size; rank++) this.#shares[rank]! /= sum
  }

  /** The rank for a number in [0, 1): small numbers give low ranks. */
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
 * Repeatable numbers in [0, 1) from a 32-bit seed: mulberry32 by Tommy Ettinger (public domain,
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
