// How fast slots are moved: how much goes into one batch, and how long the nodes get for their
// clients in between. A node does nothing else during a MIGRATE, so no batch may take long, however
// large its keys are. The speed is the share of time spent moving.
import { setTimeout as sleep } from 'node:timers/promises'

/** The intended time for a batch: half of the 10 ms that a client should hardly notice. */
const BATCH_MS = 5
/**
 * Assumed before the first batch. It is half of what was measured once: a block of 1,000 messages
 * of 200 bytes took 5 ms.
 */
const BYTES_PER_MS_FIRST = 20_000
/**
 * Assumed of even the slowest node, because the measured time includes the network and the wait for
 * a processor. It allows for 16 tiny keys in a batch, which take no node 5 ms.
 */
const BYTES_PER_MS_MIN = 2_000
/** What a key costs besides its bytes, so that a thousand tiny keys are not one batch. */
const BYTES_PER_KEY = 500
const WEIGHT_OF_NEWEST = 0.3
const REST_MS_MAX = 1000

export class Tempo {
  /** The longest MIGRATE so far. */
  batchMsMax = 0
  readonly #restPerMs: number
  #bytesPerMs = BYTES_PER_MS_FIRST

  /** @param speed 1 to 100: the percentage of time in which the nodes are kept busy with moving */
  constructor(speed: number) {
    this.#restPerMs = (100 - speed) / speed
  }

  /** How many keys of these sizes in bytes go into the next batch: at least one. */
  batchLength(sizes: readonly number[]): number {
    let left = this.#bytesPerMs * BATCH_MS
    let length = 0
    for (const size of sizes) {
      left -= size + BYTES_PER_KEY
      if (left < 0) break
      length++
    }
    return Math.max(1, length)
  }

  /** Learns from a batch of this many keys and bytes. */
  took(ms: number, keys: number, bytes: number): void {
    this.batchMsMax = Math.max(this.batchMsMax, ms)
    const rate = (bytes + keys * BYTES_PER_KEY) / Math.max(0.05, ms)
    this.#bytesPerMs += (Math.max(BYTES_PER_MS_MIN, rate) - this.#bytesPerMs) * WEIGHT_OF_NEWEST
  }

  /** Leaves the nodes alone after they were busy for this long. */
  async rest(busyMs: number): Promise<void> {
    const ms = Math.min(REST_MS_MAX, busyMs * this.#restPerMs)
    if (ms >= 1) await sleep(ms)
  }
}
