// Step 1 of a write: numbers a user's messages over all rooms. The process takes a lease, several
// numbers ahead of need, so that it asks the counter once for several messages. A busy user gets
// longer leases. Invariant: no number is given out twice, with one exception: a failover may take
// numbers back of which no replica knew, and a block then gets a few messages more. If a process
// ends with a lease, a block gets a few messages less. Neither does harm: a message is found by its
// block and entry id, not by its number.
//
// Whoever deletes a room learns from the counter which blocks a user can have. So numbers that
// begin a new block are not used before a replica has the counter; nobody waits for the others. A
// failover may then take the counter back by one block, and room-cleaner.ts allows for that.
import { Repetitions } from '../redis/acknowledged.js'
import { type Cluster } from '../redis/cluster.js'
import { blockOf } from '../message/message.js'
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
  readonly #blockLength: number
  readonly #leases = new Map<string, Lease>()

  constructor(cluster: Cluster, blockLength: number) {
    this.#cluster = cluster
    this.#blockLength = blockLength
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
   * @throws DialogsError as Cluster.command; as Cluster.acknowledged if the numbers begin a new
   * block
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
    const last = await this.#count(user, missing + size, deadline)
    this.#remember(user, { next: last - size + 1, last, size, askedAt: now })
    for (let n = last - size - missing + 1; n <= last - size; n++) numbers.push(n)
    return numbers
  }

  // Counts on, and returns the last number.
  async #count(user: string, by: number, deadline: number): Promise<number> {
    const key = userCountKey(user)
    const slot = slotOf(key)
    const args = ['INCRBY', key, String(by)]
    const last = Number(await this.#cluster.unacknowledged(slot, args, deadline))
    const before = Math.max(1, last - by)
    if (blockOf(last, this.#blockLength) > blockOf(before, this.#blockLength)) {
      await this.#keep(key, last, deadline)
    }
    return last
  }

  // Waits until a replica has the counter, and counts on if a failover has taken it back meanwhile.
  // Run twice, that skips numbers.
  async #keep(key: string, last: number, deadline: number): Promise<void> {
    const repetitions = new Repetitions(deadline)
    for (let by = 0; ;) {
      const args = ['INCRBY', key, String(by)]
      const { reply, replicated } = await this.#cluster.write(slotOf(key), args, deadline)
      try {
        await replicated
        if (Number(reply) >= last) return
      } catch (error) {
        await repetitions.after(error)
      }
      by = Math.max(0, last - Number(reply))
    }
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
