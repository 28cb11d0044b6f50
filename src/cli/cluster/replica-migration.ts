// A master that gives its last slot away becomes, by Redis' default, a replica of the one that took
// it, and so do its own replicas. Who drains a shard wants an empty shard, to remove or to fill
// again. So the nodes are told to stay what they are meanwhile
// (https://redis.io/docs/latest/operate/oss_and_stack/management/scaling/,
// cluster-allow-replica-migration).
import { type Admin } from './admin.js'
import { type ClusterMap, type MapNode } from './map.js'

const OPTION = 'cluster-allow-replica-migration'
const HEARD_MS_MAX = 5000

/**
 * Tells the nodes of these shards to stay; answers a function that lets them go again, once they
 * know that the slots are away.
 */
export async function keepReplicas(
  admin: Admin,
  map: ClusterMap,
  masterIds: readonly string[]
): Promise<() => Promise<void>> {
  const held: MapNode[] = []
  for (const id of masterIds) {
    for (const node of [map.nodes.get(id), ...map.replicasOf(id)]) {
      if (node?.state === 'up' && (await wasAllowed(admin, node))) held.push(node)
    }
  }
  return async () => {
    if (held.length === 0) return
    // One that does not hear it in time may become a replica after all: harmless.
    await admin
      .until(({ disputed }) => (disputed.length > 0 ? 'the nodes agree' : undefined), HEARD_MS_MAX)
      .catch(() => undefined)
    await Promise.allSettled(held.map(node => admin.ask(node, 'CONFIG', 'SET', OPTION, 'yes')))
  }
}

// Managed clusters forbid CONFIG: there it happens as Redis has it.
async function wasAllowed(admin: Admin, node: MapNode): Promise<boolean> {
  try {
    // name and value
    const [, value] = (await admin.ask(node, 'CONFIG', 'GET', OPTION)) as readonly string[]
    if (value !== 'yes') return false
    await admin.ask(node, 'CONFIG', 'SET', OPTION, 'no')
    return true
  } catch {
    return false
  }
}
