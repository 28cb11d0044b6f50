// The only source of chance in a run: everything is drawn from the seed. A source can be forked by
// name, so that what one part draws does not depend on how often another part has drawn.

export class Random {
  #a: number
  #b: number
  #c: number
  #d = 1
  readonly #name: string

  constructor(name: string) {
    this.#name = name
    const hash = hashes(name)
    this.#a = hash()
    this.#b = hash()
    this.#c = hash()
    for (let i = 0; i < 12; i++) this.next()
  }

  /** A source of its own; the same name always gives the same source. */
  fork(name: string): Random {
    return new Random(`${this.#name}/${name}`)
  }

  /** From 0 to below 1 (sfc32, Chris Doty-Humphrey's PractRand). */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#d) | 0
    this.#d = (this.#d + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (this.#c << 21) | (this.#c >>> 11)
    this.#c = (this.#c + sum) | 0
    return (sum >>> 0) / 4294967296
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** A whole number from 0 to below `count`. */
  below(count: number): number {
    return Math.floor(this.next() * count)
  }

  between(min: number, max: number): number {
    return min + this.next() * (max - min)
  }

  /** A whole number; both ends are included. */
  whole(min: number, max: number): number {
    return min + this.below(max - min + 1)
  }

  /** Each order of magnitude is equally likely, so small values are as frequent as large ones. */
  magnitude(min: number, max: number): number {
    return min * (max / min) ** this.next()
  }

  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new Error('Nothing to pick from')
    // The index is within the list.
    return list[this.below(list.length)] as T
  }
}

// xmur3: derives as many 32-bit hashes of a text as are asked for.
function hashes(text: string): () => number {
  let h = 1779033703 ^ text.length
  for (let i = 0; i < text.length; i++) {
    h = Math.imul(h ^ text.charCodeAt(i), 3432918353)
    h = (h << 13) | (h >>> 19)
  }
  return () => {
    h = Math.imul(h ^ (h >>> 16), 2246822507)
    h = Math.imul(h ^ (h >>> 13), 3266489909)
    h ^= h >>> 16
    return h | 0
  }
}
