// Rooms that do not keep their messages for ever: each block, what stands beside it, and each
// sealed segment has an expiry. What was written before RETENTION_DAYS was set, or was prolonged
// from 0, has none, and would stay. Invariant: an expiry that a key has is never changed, so what a
// writer sets meanwhile counts.
import { type Cluster } from '../../redis/cluster.js'
import { slotOf } from '../../redis/slots.js'
import { type Log } from '../../store/log.js'
import { type Findings } from './finding.js'

/** What PEXPIRETIME answers for a key that stays for ever. */
const FOR_EVER = -1

export class Expiries {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #room: string
  readonly #isRepairing: boolean

  constructor(cluster: Cluster, log: Log, room: string, isRepairing: boolean) {
    this.#cluster = cluster
    this.#log = log
    this.#room = room
    this.#isRepairing = isRepairing
  }

  /** @param newestMs reads when the newest of what the key holds is from; needed for few keys */
  async check(
    key: string,
    newestMs: () => number | Promise<number>,
    findings: Findings
  ): Promise<void> {
    if (!this.#log.expires(this.#room)) return
    const slot = slotOf(key)
    if ((await this.#cluster.command(slot, ['PEXPIRETIME', key])) !== FOR_EVER) return
    findings.add('no-expiry', key)
    const expiryMs = this.#log.expiryMs(this.#room, await newestMs())
    if (!this.#isRepairing || expiryMs === undefined) return
    // One that is in the past deletes the key at once.
    const { replicated } = await this.#cluster.write(slot, [
      'PEXPIREAT',
      key,
      String(expiryMs),
      'NX'
    ])
    await replicated
    findings.mend('no-expiry', 1)
  }
}
