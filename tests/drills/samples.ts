// Keeps all measured values with their times, so that exact percentiles of any span can be computed
// afterwards. A value takes 16 bytes, and adding one only stores it.

const CAPACITY_MIN = 4096

export class Samples {
  #times = new Float64Array(CAPACITY_MIN)
  #values = new Float64Array(CAPACITY_MIN)
  #length = 0

  get length(): number {
    return this.#length
  }

  add(atMs: number, value: number): void {
    if (this.#length === this.#times.length) {
      this.#times = grown(this.#times)
      this.#values = grown(this.#values)
    }
    this.#times[this.#length] = atMs
    this.#values[this.#length++] = value
  }

  /**
   * The values of a span of time (its end excluded), ascending.
   * @param corrected maps a value and its time to the value to use
   */
  between(
    fromMs: number,
    toMs: number,
    corrected?: (atMs: number, value: number) => number
  ): Float64Array {
    const times = this.#times.subarray(0, this.#length)
    const values = this.#values.subarray(0, this.#length)
    const all =
      corrected === undefined
        ? values
        : values.map((value, index) => corrected(times[index] ?? Number.NaN, value))
    return all.filter((_, index) => isWithin(times[index] ?? Number.NaN, fromMs, toMs)).sort()
  }

  /** All values in the order in which they were added. */
  entries(): Array<{ readonly atMs: number; readonly value: number }> {
    return Array.from({ length: this.#length }, (_, index) => ({
      atMs: this.#times[index] ?? 0,
      value: this.#values[index] ?? 0
    }))
  }

  /** The values of each of `count` spans of `widthMs`, ascending. */
  bins(fromMs: number, widthMs: number, count: number): Float64Array[] {
    const bins: number[][] = Array.from({ length: count }, () => [])
    for (let index = 0; index < this.#length; index++) {
      bins[Math.floor(((this.#times[index] ?? 0) - fromMs) / widthMs)]?.push(
        this.#values[index] ?? 0
      )
    }
    return bins.map(values => Float64Array.from(values).sort())
  }
}

const isWithin = (time: number, fromMs: number, toMs: number): boolean =>
  time >= fromMs && time < toMs

function grown(array: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(2 * array.length)
  larger.set(array)
  return larger
}

/**
 * The percentile by nearest rank: the smallest value for which at least this percentage of the
 * values are not larger; NaN for no values.
 */
export function percentile(ascending: Float64Array, percent: number): number {
  return ascending[Math.max(0, Math.ceil((percent / 100) * ascending.length) - 1)] ?? Number.NaN
}
