// Step 1 of a write: the number of a user's message, over all rooms. A user who writes much is
// given numbers ahead of need, a lease: the counter is asked once for many messages instead of once
// for each. Invariant: no number is given twice, unless a failover takes back the counter before a
// replica had it: nobody waits for that. Then a block gets so many messages more. Numbers of a
// lease that are never used (the process ended) leave a hole in the count, and a block with so many
// messages less. Neither harms anybody: a message is found by its block and its entry's id, not by
// its number.
import { type Cluster } from '../redis/cluster.js'
import { userCountKey } from './keys.js'
import { slotOf } from '../redis/slots.js'
import { Remembered } from '../remembered.js'

type Lease = { next: number; last: number; size: number; askedAt: number }

const LEASE_MAX = 100
/** Who asks again within this time gets twice as much. */
const BUSY_MS = 1000

export class Numbers {
  readonly #cluster: Cluster
  readonly #leases = new Remembered<Lease>()

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** The next number of a user's lease; undefined when there is none (any more). */
  take(user: string): number | undefined {
    const lease = this.#leases.get(user)
    return lease === undefined || lease.next > lease.last ? undefined : lease.next++
  }

  /**
   * Numbers for a group of a user's messages, ascending: first what is left of the lease, then from
   * the counter, with a new lease beyond them if the user is busy. At most one call a user at a
   * time.
   * @throws DialogsError as Cluster.command
   */
  async give(user: string, count: number, deadline: number): Promise<number[]> {
    const numbers: number[] = []
    for (
      let n = this.take(user);
      n !== undefined;
      n = numbers.length < count ? this.take(user) : undefined
    ) {
      numbers.push(n)
    }
    const missing = count - numbers.length
    if (missing === 0) return numbers
    const now = performance.now()
    const known = this.#leases.get(user)
    const size =
      known !== undefined && now - known.askedAt < BUSY_MS
        ? Math.min(LEASE_MAX, 2 * known.size + 1)
        : 0
    const key = userCountKey(user)
    const last = Number(
      (await this.#cluster.write(slotOf(key), ['INCRBY', key, String(missing + size)], deadline))
        .reply
    )
    this.#leases.set(user, { next: last - size + 1, last, size, askedAt: now })
    for (let n = last - size - missing + 1; n <= last - size; n++) numbers.push(n)
    return numbers
  }
}
