// Step 1 of a write: numbers a user's messages over all rooms. The process takes a lease, several
// numbers ahead of need, so that it asks the counter once for several messages. A busy user gets
// longer leases. Invariant: no number is given out twice, with one exception: nobody waits until a
// replica has the counter, so a failover may take it back, and a block then gets a few messages
// more. If a process ends with a lease, a block gets a few messages less. Neither does harm: a
// message is found by its block and entry id, not by its number.
import { type Cluster } from '../redis/cluster.js'
import { userCountKey } from './keys.js'
import { slotOf } from '../redis/slots.js'

type Lease = { next: number; last: number; size: number; askedAt: number }

const LEASE_MIN = 3
const LEASE_MAX = 100
/** Beyond this many leases, the oldest one is forgotten. */
const LEASES_MAX = 20_000
/** A user who needs numbers again within this time gets a lease of twice the size. */
const BUSY_MS = 1000

export class Numbers {
  readonly #cluster: Cluster
  readonly #leases = new Map<string, Lease>()

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** The next number of a user's lease; undefined if there is none left. */
  take(user: string): number | undefined {
    const lease = this.#leases.get(user)
    return lease === undefined || lease.next > lease.last ? undefined : lease.next++
  }

  /**
   * Numbers for a group of a user's messages, ascending: first those left in the lease, then new
   * ones from the counter, together with a new lease. Must not be called for a user before the
   * last call for them has ended.
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
        : LEASE_MIN
    const key = userCountKey(user)
    const last = Number(
      await this.#cluster.unacknowledged(
        slotOf(key),
        ['INCRBY', key, String(missing + size)],
        deadline
      )
    )
    this.#remember(user, { next: last - size + 1, last, size, askedAt: now })
    for (let n = last - size - missing + 1; n <= last - size; n++) numbers.push(n)
    return numbers
  }

  #remember(user: string, lease: Lease): void {
    this.#leases.delete(user)
    if (this.#leases.size >= LEASES_MAX) {
      const [oldest] = this.#leases.keys()
      if (oldest !== undefined) this.#leases.delete(oldest)
    }
    this.#leases.set(user, lease)
  }
}
