// The ids of a block's entries, page by page, so that no reply is large.
import { type Cluster } from '../../redis/cluster.js'
import { slotOf } from '../../redis/slots.js'
import { ENTRY_IDS } from '../../store/check-scripts.js'

const PAGE_LENGTH = 1000

/** Yields pages of ids, in order. The last one is empty. */
export async function* entryIds(cluster: Cluster, key: string): AsyncGenerator<readonly string[]> {
  for (let start = '-'; ;) {
    const args = ['EVALSHA', ENTRY_IDS.sha, '1', key, start, String(PAGE_LENGTH)]
    // ENTRY_IDS returns a list of ids.
    const ids = (await cluster.read(slotOf(key), args)) as readonly string[]
    yield ids
    if (ids.length === 0) return
    start = `(${ids.at(-1) ?? ''}`
  }
}
