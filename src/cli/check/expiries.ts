// In rooms that do not keep their messages for ever, each block, the changes beside it, and each
// sealed segment has an expiry. Keys that were written before RETENTION_DAYS was set, or while it
// was 0, have none, and would stay. In other rooms no key has an expiry. If one has, the setting of
// the check is not that of the service, or it was taken away and the messages will be missed.
// Invariant: the expiry of a key that has one is never changed, so an expiry that a writer sets in
// the meantime counts, and a check with the wrong setting makes nothing stay.
import { type Cluster } from '../../redis/cluster.js'
import { slotOf } from '../../redis/slots.js'
import { type Log } from '../../store/log.js'
import { type Findings } from './finding.js'

/** What PEXPIRETIME replies for a key without an expiry; for one that is not there, less. */
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

  /** @param newestMs finds out when the newest entry of the key was written; called for few keys */
  async check(
    key: string,
    newestMs: () => number | Promise<number>,
    findings: Findings
  ): Promise<void> {
    const slot = slotOf(key)
    const expiresAtMs = Number(await this.#cluster.command(slot, ['PEXPIRETIME', key]))
    if (!this.#log.expires(this.#room)) {
      if (expiresAtMs > FOR_EVER) {
        findings.add('expiring', `${key} at ${new Date(expiresAtMs).toISOString()}`)
      }
      return
    }
    if (expiresAtMs !== FOR_EVER) return
    findings.add('no-expiry', key)
    const expiryMs = this.#log.expiryMs(this.#room, await newestMs())
    if (!this.#isRepairing || expiryMs === undefined) return
    // An expiry in the past deletes the key at once.
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
