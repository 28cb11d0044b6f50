// Compares the members of a room with their lists of rooms. A list follows the membership a moment
// later, so whatever is missing is read again before it is reported.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cluster } from '../../redis/cluster.js'
import { Dialogs } from '../../store/dialogs.js'
import { ReadMarks } from '../../store/read-marks.js'
import { forEachAtOnce } from './at-once.js'
import { type Findings } from './finding.js'

const AT_ONCE = 64
/**
 * What a repaired list says about the member's last own act in the room. It is older than any
 * message, so the room's last message decides where the room stands in the list.
 */
const MENDED_MS = 1

export class Lists {
  readonly #dialogs: Dialogs

  constructor(cluster: Cluster) {
    const ignore = (): void => undefined
    this.#dialogs = new Dialogs(cluster, new ReadMarks(cluster, ignore), ignore)
  }

  /** @param settleMs how long after a commit a room may take to reach a list */
  async check(
    room: string,
    members: readonly string[],
    { settleMs, isRepairing }: { readonly settleMs: number; readonly isRepairing: boolean },
    findings: Findings
  ): Promise<void> {
    const missing = await this.#missing(room, members)
    if (missing.length === 0) return
    await sleep(settleMs)
    for (const user of await this.#missing(room, missing)) {
      findings.add('unlisted', user)
      if (!isRepairing) continue
      await this.#dialogs.add(user, room, MENDED_MS, performance.now() + settleMs)
      findings.mend('unlisted', 1)
    }
  }

  async #missing(room: string, members: readonly string[]): Promise<string[]> {
    const missing: string[] = []
    await forEachAtOnce(members, AT_ONCE, async user => {
      if ((await this.#dialogs.get(user, room)) === undefined) missing.push(user)
    })
    return missing.sort()
  }
}
